"""The report: one HTML page with the state and the results of a sweep, live while it runs and final after its end.

`snapshot` holds the content as plain data; `document` renders it as a page. `stage_states`, `findings`, `curves`,
`gallery` and `origin` read the content; `outline` stores what the records lack. `live` writes the page while a sweep
runs; `command` and `serve` are `nrf report`.
"""
