"""The hub's pages for people: rendered here, of use without a script, and kept up to date by a small one where there is one.

router         all pages together
door           who sees a page and who may send a form; errors as pages
sessions       who is logged in, in memory, each bound to a token
hub_pages, site_pages, rollout_pages    what is shown
rollout_forms  what moves something: planning, starting, each verb after a question
*_view, overview, looking_back          what a page says, worked out of what the control plane tells
signs, words   how states, numbers and times look
templates, static                       pages, style and script: nothing inline, nothing from elsewhere
"""
