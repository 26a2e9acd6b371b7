"""Twist-bend-splay axes of a hand's joints without a human: evidence, estimate, files, pictures (mathematics §7).

`hand` is the rest hand that all of it looks at; `mesh_shape` is the published estimate from the mesh alone; `evidence`
gathers what palm, bones, rig, mesh and motion say about each finger's hinge, and `estimate` combines it and tells how
sure it is; `files` reads and writes axes; `mano` ties them to a MANO surface; `pictures` shows them; `annotation` is
what the annotation page does, without the page.
"""
