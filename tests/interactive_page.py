"""An interactive page whose texts try to break out, and how the tests use it as a reader does."""

from chromium import Page
from drawn_tables import Tables

from replication.base import tables

NAME = "love_hate"
HOSTILE = "<img src=x onerror='window.hacked=1'></script><script>window.hacked=2</script>"
TOKENS = (" hate", HOSTILE, " wonderful", "\u202e\"'&amp;")


def visible(token: str) -> str:
    """What the vocabulary of the made-up tables should look like."""
    return token.replace(" ", "␣").replace("\n", "\\n").replace("\u202e", "\\u202e")


def drawn(page: Page) -> list[list[list[float]]]:
    """Values of the three maps."""
    values: list[list[list[float]]] = page.run("maps.data.slice(0, 3).map((trace) => trace.z)")
    return values


def expected(made: Tables, protocol: str, condition: str, column: str) -> list[list[float]]:
    rows = made.losses[(made.losses["protocol"] == protocol) & (made.losses["condition"] == condition)]
    return [
        [rows.loc[(rows["layer"] == name) & (rows["position"] == i), column].item() for i in range(5)]
        for name in tables.layer_names(5)
    ]


def choose(page: Page, control: str, value: str) -> None:
    """Chooses in a list as a user does, by the event that a browser sends."""
    script = f"(() => {{ const s = document.getElementById('{control}'); s.value = '{value}'; "
    assert page.run(script + "s.dispatchEvent(new Event('change', {bubbles: true})); return s.value; })()") == value


def middle_of(page: Page, layer: int, position: int) -> tuple[float, float]:
    """Where on the screen a cell of the second map is."""
    x, y = page.run(
        f"""(() => {{
            const layout = document.getElementById('maps')._fullLayout;
            const box = document.getElementById('maps').getBoundingClientRect();
            const {{xaxis2: x, yaxis2: y}} = layout;
            return [box.x + x._offset + x.c2p({position}), box.y + y._offset + y.c2p({layer})];
        }})()"""
    )
    return x, y


def details(page: Page) -> dict[str, list[str]]:
    """Rows of the table of numbers, by their names."""
    script = "[...document.querySelectorAll('#numbers tbody tr')].map((r) => [...r.children].map((c) => c.textContent))"
    return {name: cells for name, *cells in page.run(script)}
