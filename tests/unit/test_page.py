from html.parser import HTMLParser

from runtime import page

EVIL = '<script>alert("x")</script>'


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_without_script_that_shows_what_it_is_given() -> None:
    newest = {"value": 1.5, "at": "now", "trace_id": "abc", "link": "/traces/abc"}
    html = page.render(
        {
            "process": {"uptime_seconds": 12345, EVIL: EVIL, "nothing": None},
            "agents": [{"id": EVIL, "file": "a.py"}, {"id": "b"}],
            "exporters": [],
            "instruments": [
                {"name": "x", "kind": "counter", "unit": "s", "help": EVIL, "values": []},
                {
                    "name": EVIL,
                    "kind": "histogram",
                    "unit": "s",
                    "help": "Help.",
                    "values": [{"attributes": {"agent_id": EVIL}, "count": 3, "newest": newest}],
                },
            ],
        }
    )
    tags = Tags(html)
    assert tags.open == [] and "script" not in tags.seen
    assert tags.text.count(EVIL) == 5
    assert "12,345" in tags.text and "/traces/abc" in tags.links
