"""A stranger with a browser at the drive of the demo: real gateway, real node, real photographs."""

import base64
import re
from collections.abc import Iterator
from urllib.parse import urlparse

import pytest
from clouddrive.store import State
from playwright.sync_api import Browser, Locator, Page, expect

from accord.cli.demo.pictures import BRICK, CAT, COFFEE, GRAVEL, ROCKET, altered
from drive_kit import find_chromium
from world_kit import CERTIFIED_BY, Town, chromium, running_town, watched

pytestmark = pytest.mark.skipif(
    find_chromium() is None,
    reason="no Chromium here: run scripts/browser.sh or set ACCORD_CHROMIUM",
)

# A drop as the browser itself makes it: real File objects in a real DataTransfer.
DROP = """(files) => {
  const data = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    data.items.add(new File([bytes], name));
  }
  for (const type of ["dragenter", "dragover", "drop"]) {
    const how = { dataTransfer: data, bubbles: true, cancelable: true };
    document.querySelector(".drop").dispatchEvent(new DragEvent(type, how));
  }
}"""
REFERENCE = re.compile(r"CD-[0-9A-Z]{4}-[0-9A-Z]{4}")
SECONDS_ENOUGH = 15_000.0  # Milliseconds: the gateway shares two cores with everything else here.


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with running_town(tmp_path_factory.mktemp("town") / "demo") as town:
        yield town


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(town: Town, browser: Browser) -> Iterator[Page]:
    with watched(browser.new_page()) as page:
        page.set_default_timeout(SECONDS_ENOUGH)
        page.goto(town.drive_url)
        yield page


def drop(page: Page, **files: bytes) -> None:
    named = [[f"{name}.jpg", base64.b64encode(raw).decode()] for name, raw in files.items()]
    page.evaluate(DROP, named)


def upload_from(page: Page, country: str) -> None:
    page.get_by_label("You are uploading from").select_option(country)


def tile(page: Page, name: str) -> Locator:
    return page.get_by_role("link", name=f"Open {name}.jpg")


def notice(page: Page, kind: str, name: str) -> Locator:
    """The message about one file, found by its whole name."""
    return page.locator(f".notice.{kind}").filter(has=page.get_by_text(f"{name}.jpg", exact=True))


def test_a_benign_photograph_appears_and_a_listed_one_is_refused_with_all_its_altered_copies(
    page: Page,
) -> None:
    upload_from(page, "Netherlands")
    drop(page, cat=CAT.read())
    expect(tile(page, "cat").locator("img")).to_have_js_property("naturalWidth", 451)

    copies = {
        re.sub(r"\W+", "-", f"rocket {what}").strip("-"): raw
        for what, raw in altered(ROCKET.read()).items()
    }
    drop(page, rocket=ROCKET.read(), **copies)
    for name in ("rocket", *copies):
        refused = notice(page, "refused", name)
        expect(refused).to_be_visible(timeout=SECONDS_ENOUGH)
        expect(refused).to_contain_text("This file was not added")
        expect(refused).to_contain_text("not a judgement about you")
        expect(refused).to_contain_text("You may ask for a review")  # The rule's own words.
        expect(refused.locator(".reference")).to_have_text(REFERENCE)
        expect(tile(page, name)).to_have_count(0)
    assert len(copies) == 4
    said = page.locator("#messages").inner_text()
    for secret in (*CERTIFIED_BY["rocket"], "fingerprint", "pdq"):
        assert secret not in said.lower(), "an uploader learns nothing of the list"


def test_a_person_who_was_refused_asks_for_a_review_and_the_staff_reads_it(page: Page) -> None:
    upload_from(page, "Netherlands")
    drop(page, launch=ROCKET.read())
    refused = notice(page, "refused", "launch")
    reference = refused.locator(".reference").inner_text()
    refused.get_by_role("link", name="Ask for a review").click()
    page.get_by_label("What should we know?").fill("I took this at the launch myself.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("We have your message")
    expect(page.get_by_role("status")).to_contain_text(reference)
    page.get_by_role("link", name="Platform staff").click()
    appeal = page.locator("#appeals li").filter(has_text=reference)
    expect(appeal).to_contain_text("I took this at the launch myself.")


def test_from_canada_the_same_photograph_is_accepted_and_only_the_staff_sees_the_tag(
    page: Page,
) -> None:
    upload_from(page, "Canada")
    drop(page, mug=COFFEE.read())
    expect(tile(page, "mug").locator("img")).to_have_js_property("naturalWidth", 600)
    expect(notice(page, "refused", "mug")).to_have_count(0)
    shown = page.locator("main").inner_text().lower()
    assert "tag" not in shown
    assert "match" not in shown
    page.get_by_role("link", name="Platform staff").click()
    row = page.locator("#matches tbody tr").filter(has_text="Demo rules, Canada").first
    expect(row.locator(".action.tag")).to_have_text("tag")
    expect(row).to_contain_text("stays in the drive")
    expect(row.locator(".chip", has_text="CA")).to_be_visible()


def test_the_staff_sees_the_rule_the_certifying_agencies_and_the_report_that_is_due(
    page: Page,
) -> None:
    upload_from(page, "Netherlands")
    drop(page, beans=COFFEE.read())
    reference = notice(page, "refused", "beans").locator(".reference").inner_text()
    page.get_by_role("link", name="Platform staff").click()
    row = page.locator("#matches tbody tr").filter(has_text=reference)
    expect(row.locator(".action.block")).to_have_text("block")
    expect(row).to_contain_text("Demo rules, the Netherlands")
    expect(row).to_contain_text("clause “known”")
    for agency in CERTIFIED_BY["coffee"]:
        expect(row).to_contain_text(re.compile(rf"{agency} \(entry \d+\)"))
    expect(row).to_contain_text(re.compile(r"checkpoint \d+"))
    expect(row).to_contain_text(re.compile(r"receipt \d+"))
    task = page.locator("#tasks tbody tr").filter(has_text=reference)
    expect(task).to_contain_text("The demo's clearing house")
    expect(task).to_contain_text("in 23 h")
    page.get_by_role("button", name=f"Mark the report for {reference}").click()
    expect(task).to_contain_text("done")


def test_a_stored_file_vanishes_before_its_owners_eyes_when_agencies_certify_it(
    page: Page, town: Town
) -> None:
    upload_from(page, "Netherlands")
    drop(page, path=GRAVEL.read(), wall=BRICK.read())
    expect(tile(page, "path")).to_be_visible()
    expect(tile(page, "wall")).to_be_visible()
    town.certify(GRAVEL)
    taken = notice(page, "quarantined", "path")
    expect(taken).to_be_visible(timeout=SECONDS_ENOUGH)
    expect(taken).to_contain_text("A file was taken out of your drive")
    expect(taken.locator(".reference")).to_have_text(REFERENCE)
    expect(tile(page, "path")).to_have_count(0)
    expect(tile(page, "wall").locator("img")).to_have_js_property("naturalWidth", 512)
    page.get_by_role("link", name="Platform staff").click()
    row = page.locator("#matches tbody tr").filter(has_text="stored scan").first
    expect(row).to_contain_text("taken out of the drive, encrypted")


def test_no_page_shows_a_refused_or_quarantined_picture(page: Page, town: Town) -> None:
    upload_from(page, "Netherlands")
    drop(page, pad=ROCKET.read())
    expect(notice(page, "refused", "pad")).to_be_visible(timeout=SECONDS_ENOUGH)
    unseen = town.file_ids(State.REFUSED, State.QUARANTINED, State.HELD)
    assert unseen
    links = page.locator("#messages a").evaluate_all("all => all.map((a) => a.href)")
    assert len(links) >= 1
    for url in (town.drive_url, f"{town.drive_url}/platform", *links):
        page.goto(url)
        sources = page.locator("img").evaluate_all("all => all.map((one) => one.src)")
        names = {urlparse(source).path.rpartition("/")[2] for source in sources}
        assert not names & set(unseen)
        if url != town.drive_url:
            drawings = [
                source for source in sources if urlparse(source).path.startswith("/static/")
            ]
            assert sources == drawings, "only the owner's own drive shows pictures"
        page_text = page.content()
        assert not any(file_id in page_text for file_id in unseen)
    for file_id in unseen:
        assert page.request.get(f"{town.drive_url}/files/{file_id}").status == 404
