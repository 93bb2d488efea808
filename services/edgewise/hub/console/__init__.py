"""The operator's side of a hub: its client, making and publishing releases, what rollouts look like in a terminal.

connection   which hub, and with which token
client       the hub's API over HTTP
answers      its JSON as the types of `hub/control`
publishing   a release from directories to a hub: blobs, manifest, signature
verifying    a release as a site would check it
exporting    a release as one file for a site without a link
*_text       what people read; live_view is the terminal that moves
"""
