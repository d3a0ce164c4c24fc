"""The report: one HTML page that says how a sweep goes and what came out, live while it runs and final when it ended.

`snapshot` is what is known, as plain data; `document` makes a page of it. `standing`, `findings`, `curves`, `gallery`
and `origin` look things up; `outline` keeps what records do not tell. `live` writes the page while a sweep runs,
`command` and `serve` are `nrf report`.
"""
