"""Labels in and out, in the formats that people use: a folder for each class, CSV, COCO, Label Studio.

`formats` has them by name. Each is a module of pure functions: where a picture is placed and what is written beside the pictures, and what a
file or a directory that somebody hands in says. `exporting` writes a directory; `edgewise.hub.console` talks to the hub.
"""
