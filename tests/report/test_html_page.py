"""The HTML page of a report: what it is made of, and how it is for its readers in a real Chromium."""

import base64
import re
from pathlib import Path

import pytest
from axe import serious_violations
from chromium import Page
from drawn_tables import made_up
from elements import Elements
from PIL import Image

from replication.base.files import write_text
from replication.base.paths import REPOSITORY
from replication.report.compile import contents, markdown
from replication.report.html_page import page

HOSTILE = "</table><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>"
MADE = {"one": made_up((" hate", HOSTILE, " wonderful"), title=f"Love {HOSTILE}"), "two": made_up()}
REPORT = "report/m/report.html"


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return page(markdown(contents("m", list(MADE))), Path(REPORT).parent)


@pytest.fixture(scope="module")
def file(run: Path, html: str) -> Path:
    write_text(Path(REPORT), html)
    return run / REPORT


def test_only_our_own_elements_are_there(html):
    elements = Elements(html)
    tags = {tag for tag, *_ in elements.found}
    assert not tags & {"script", "iframe", "link", "object", "form", "input"}
    assert len(elements.of("table")) == html.count("<table")
    assert all(str(image["src"]).startswith("data:image/") for image in elements.of("img"))
    # Of each experiment five figures, the lenses, and three controls.
    assert len(elements.of("img")) == 19
    assert not [name for name, _ in elements.attributes() if name.startswith("on")]
    assert elements.policy().startswith("default-src 'none';")


def test_html_in_markdown_shows_as_text(tmp_path):
    text = page('# T\n\na <b>b</b> <a id="x" onclick="y">c\n\n<div>d</div>\n\n<a href="javascript:e">f</a>\n', tmp_path)
    main = text[text.index("<main") :]
    assert "&lt;b&gt;b&lt;/b&gt;" in main
    assert "&lt;a id=&quot;x&quot; onclick=" in main
    assert "&lt;div&gt;d&lt;/div&gt;" in main
    assert "&lt;a href=&quot;javascript:e&quot;&gt;" in main


@pytest.mark.parametrize(
    "fold", ["<details ontoggle=x>\n<summary>s</summary>", "<details>\n<summary><b>s</b></summary>"]
)
def test_of_folds_only_those_of_our_form_pass(tmp_path, fold):
    text = page(f"# T\n\n{fold}\n\nc\n\n</details>\n", tmp_path)
    assert "<details" not in text[text.index("<main") :].replace("</details>", "")
    text = page("# T\n\n<details>\n<summary>s</summary>\n\nc\n\n</details>\n", tmp_path)
    assert "<details>\n<summary>s</summary>\n<p>c</p>\n</details>" in text


def test_pictures_and_tables_stand_in_figures_with_their_captions(html):
    elements = Elements(html)
    inside = {tag: [around for name, _, around in elements.found if name == tag] for tag in ("img", "table")}
    assert all(around[-2:] == ("figure", "div") for around in inside["img"] + inside["table"])
    assert len(elements.of("figure")) == len(elements.of("figcaption")) == len(inside["img"]) + len(inside["table"])
    assert {cell["scope"] for cell in elements.of("th")} == {"col"}
    boxes = [box for box in elements.of("div") if box.get("class") == "wide"]
    assert {box["tabindex"] for box in boxes} == {"0"}
    assert "Table 1.2" in {box["aria-label"] for box in boxes}


def test_identifiers_are_unique_and_every_link_inside_leads_to_one(html):
    elements = Elements(html)
    found = [str(attributes["id"]) for _, attributes, _ in elements.found if attributes.get("id")]
    assert len(found) == len(set(found))
    links = {str(link["href"])[1:] for link in elements.of("a") if str(link.get("href")).startswith("#")}
    assert links <= set(found)
    places = {str(attributes.get("id")): tag for tag, attributes, _ in elements.found}
    assert places["one"] == "h3"
    assert places["verification"] == "h2"
    assert places["one-token-2"] == places["one-claim-key-tokens"] == "tr"
    assert places["one-figure-lens"] == places["one-losses"] == "figure"
    contents = html[html.index("<nav") : html.index("</nav>")]
    assert contents.count("<li") == len(re.findall("<h[23] ", html))


def test_the_smaller_of_png_and_svg_is_embedded(tmp_path):
    Image.new("L", (200, 100)).save(tmp_path / "f.png")
    picture = (tmp_path / "f.png").read_bytes()
    (tmp_path / "f.svg").write_bytes(b"s" * 10)
    text = "![alt](f.png)\n\n*Figure 1.1. What it shows.*\n"
    assert f"data:image/svg+xml;base64,{base64.b64encode(b's' * 10).decode()}" in page(text, tmp_path)
    (tmp_path / "f.svg").write_bytes(b"s" * (len(picture) + 1))
    assert f"data:image/png;base64,{base64.b64encode(picture).decode()}" in page(text, tmp_path)
    assert 'width="130"' in page(text, tmp_path), "text of one size in all pictures: 0.65 of their pixels"


def test_the_same_text_gives_the_same_page(run, html):
    assert page(markdown(contents("m", list(MADE))), Path(REPORT).parent) == html


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_report_has_no_serious_violation(file, browser, width, scheme):
    browser.prefer(scheme)
    browser.open(file, width)
    colour = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") == (scheme == "light")
    assert serious_violations(browser) == []


def test_axe_notices_a_fault(browser, html, tmp_path):
    faulty = html.replace(' alt="', ' data-alt="').replace("--text: #1b1b1b", "--text: #ccc")
    (tmp_path / "faulty.html").write_text(faulty, encoding="utf-8")
    browser.prefer("light")
    browser.open(tmp_path / "faulty.html")
    assert {fault.split()[1].rstrip(":") for fault in serious_violations(browser)} >= {"image-alt", "color-contrast"}


def test_a_phone_scrolls_wide_tables_and_nothing_else(file, browser):
    browser.open(file, 390)
    assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    wide = "[...document.querySelectorAll('.wide')].filter((box) => box.scrollWidth > box.clientWidth).length"
    assert browser.run(wide) > 0


def test_a_keyboard_skips_the_contents_and_scrolls_a_table(file, browser):
    browser.open(file, 390)
    browser.press("Tab")
    assert browser.run("document.activeElement.textContent") == "Skip to the content"
    browser.press("Enter")
    browser.wait("document.activeElement.id === 'content'")
    visited = []
    while "Table A" not in visited:
        browser.press("Tab")
        visited.append(browser.run("document.activeElement.getAttribute('aria-label')"))
    assert visited[-3:] == ["Link to At a glance", "Link to Table A", "Table A"]
    browser.press("ArrowRight")
    browser.wait("document.activeElement.scrollLeft > 0")


def test_nothing_is_asked_for_and_nothing_runs(file, browser):
    browser.open(file)
    assert browser.run("window.hacked") is None
    assert {url.split(":")[0] for url in browser.requests} <= {"about", "file", "data"}
    assert browser.messages == []


def test_headings_and_captions_have_marks_that_link_to_them(file, browser):
    browser.open(file, 1280)
    found = browser.run(
        """[...document.querySelectorAll("main h2, main h3, main figure")].map((place) => {
            const mark = place.querySelector(":scope > .permalink, figcaption > .permalink");
            return [place.id, mark?.hash, mark?.textContent, mark?.getBoundingClientRect().width > 0 ||
                mark?.closest("details")?.open === false];
        })"""
    )
    assert len(found) > 40
    assert [place for place in found if place[1:] != [f"#{place[0]}", "#", True]] == []


@pytest.mark.parametrize(("width", "shown"), [(390, False), (1280, True)])
def test_the_contents_are_folded_on_a_phone_and_beside_the_text_not(file, browser, width, shown):
    browser.open(file, width, 800)
    assert browser.run("document.querySelector('nav li a').checkVisibility({contentVisibilityAuto: true})") == shown
    heading = browser.run("document.querySelector('h1').getBoundingClientRect().top")
    assert heading < 120, "what it is about comes first"


def visible(page: Page, selector: str) -> bool:
    """Whether an element is rendered: what is folded, or not printed, is not."""
    seen: bool = page.run(f"document.querySelector({selector!r}).checkVisibility()")
    return seen


def test_a_link_into_a_fold_opens_it(file, browser):
    browser.open(file)
    assert not visible(browser, "#one-token-1")
    browser.run("document.querySelector('a[href=\"#one-losses\"]').click()")
    browser.wait("document.querySelector('#one-losses').closest('details').open")
    assert visible(browser, "#one-token-1")
    assert not visible(browser, "#one-layers")
    browser.open(file, fragment="#one-layers")
    assert visible(browser, "#one-layers"), "from outside, too"


def test_print_unfolds_what_is_read_and_names_the_file_of_what_is_looked_up(file, browser):
    browser.prefer("light", "print")
    browser.open(file, fragment="#one-layers")
    assert visible(browser, "#one-token-1")
    assert not visible(browser, "#one-layers"), "though a link has opened it"
    summaries = browser.run("[...document.querySelectorAll('.lookup > summary')].map((words) => words.textContent)")
    assert summaries
    assert [words for words in summaries if not re.search(r"\(.*(\.csv|\.json|replication cite)\)$", words)] == []
    assert visible(browser, ".lookup > summary")
    assert not visible(browser, ".permalink")
    assert not visible(browser, "nav")
    browser.prefer("light")


def test_print_gives_the_page_to_the_first_figure_and_to_those_with_text_in_their_cells(file, browser):
    browser.prefer("light", "print")
    browser.open(file, 700)
    pictures = "[...document.querySelectorAll('figure:has(img)')].filter((figure) => figure.checkVisibility())"
    widths = browser.run(f"{pictures}.map((figure) => [figure.id, figure.offsetWidth / figure.parentNode.offsetWidth])")
    wide = {name for name, width in widths if width > 0.99}
    cells = {f"{name}-figure-{kind}" for name in MADE for kind in ("post_raw", "lens")}
    assert wide == {"beyond-chance", *cells}
    assert [width for name, width in widths if name not in wide and not 0.49 < width < 0.5] == []
    browser.prefer("light")


@pytest.mark.slow
def test_the_report_of_four_experiments_is_printed_on_twenty_pages(browser, tmp_path):
    folder = REPOSITORY / "report/miniature"
    html = page((folder / "report.md").read_text(encoding="utf-8"), folder)
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    browser.open(tmp_path / "report.html")
    assert len(re.findall(rb"/Type\s*/Page\b", browser.pdf())) <= 20


def test_a_shadow_shows_where_a_table_goes_on(file, browser):
    browser.prefer("light")
    browser.open(file, 390, fragment="#random-vectors")
    places = "'#random-vectors .wide'"
    box = browser.run(f"document.querySelector({places}).getBoundingClientRect().toJSON()")
    assert browser.run(f"(({{scrollWidth: w, clientWidth: c}}) => w > c)(document.querySelector({places}))")

    def darkness() -> list[int]:
        picture = browser.picture()
        # Along a line between the text of two rows: at both edges, and where no shadow is.
        y = box["bottom"] - 25
        line = [255 * 3 - sum(picture.getpixel((round(x), round(y)))) for x in (box["left"] + 1, box["right"] - 2)]
        return line

    left, right = darkness()
    assert right > left + 100
    browser.run(f"document.querySelector({places}).scrollLeft = 10000")
    left, right = darkness()
    assert left > right + 100
