"""A person with a browser at the cloud drive: drop, see, be refused, appeal; and the staff."""

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from drive_kit import (
    CHROMIUM_ARGS,
    RunningDrive,
    find_chromium,
    png_bytes,
    running_drive,
)
from gateway_kit import NOTICE, StandInGateway, running_gateway, sha256_hex

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: run scripts/browser.sh or set ACCORD_CHROMIUM"
)

# A drop as the browser itself makes it: real File objects in a real DataTransfer.
DROP = """(files) => {
  const data = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    data.items.add(new File([bytes], name, { type: "image/png" }));
  }
  const target = document.querySelector(".drop");
  for (const type of ["dragenter", "dragover", "drop"]) {
    const how = { dataTransfer: data, bubbles: true, cancelable: true };
    target.dispatchEvent(new DragEvent(type, how));
  }
}"""


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    page.evaluate(DROP, [[name, base64.b64encode(content).decode()] for name, content in files])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(CHROMIUM_ARGS), headless=True
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def gateway() -> Iterator[StandInGateway]:
    with running_gateway(StandInGateway()) as running:
        yield running


@pytest.fixture(scope="module")
def drive(
    gateway: StandInGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDrive]:
    with running_drive(gateway.url, tmp_path_factory.mktemp("drive")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, drive: RunningDrive) -> Iterator[Page]:
    """The drive's front page; no script error or blocked resource may happen while it is used."""
    page = browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(drive.url)
    yield page
    page.close()
    assert complaints == []


def test_a_person_drops_pictures_one_appears_one_is_refused_and_they_appeal(
    page: Page, drive: RunningDrive, gateway: StandInGateway
) -> None:
    gateway.listed[sha256_hex(png_bytes(2))] = "block"
    page.get_by_label("You are uploading from").select_option("IE")
    drop(page, ("hills.png", png_bytes(1)), ("other.png", png_bytes(2)))
    shown = page.get_by_role("link", name="Open hills.png")
    expect(shown.locator("img")).to_have_js_property("naturalWidth", 320)
    refusal = page.locator(".notice.refused").filter(has_text="other.png")
    expect(refusal).to_contain_text("This file was not added")
    expect(page.get_by_role("link", name="Open other.png")).to_have_count(0)
    expect(refusal).to_contain_text(NOTICE)
    expect(page.locator("#progress li")).to_have_count(0)
    expect(page.get_by_role("status")).to_contain_text(".png")
    reference = refusal.locator(".reference").inner_text()

    refusal.get_by_role("link", name="Ask for a review").click()
    page.get_by_label("What should we know?").fill("This is a picture of my garden.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("We have your message")

    page.get_by_role("link", name="Platform staff").click()
    row = page.locator("#matches tbody tr").filter(has_text=reference)
    expect(row).to_contain_text("nl-police (entry 12)")
    expect(row).to_contain_text("IE")
    expect(page.locator("#appeals")).to_contain_text("This is a picture of my garden.")
    expect(page.locator("main img")).to_have_count(0)
    page.get_by_role("button", name=f"Mark the report for {reference}").click()
    task = page.locator("#tasks tbody tr").filter(has_text=reference)
    expect(task).to_contain_text("done")


def test_a_stored_picture_vanishes_before_the_owners_eyes_when_the_list_changes(
    page: Page, drive: RunningDrive, gateway: StandInGateway
) -> None:
    page.locator("#file").set_input_files(
        [
            {"name": "stays.png", "mimeType": "image/png", "buffer": png_bytes(3)},
            {"name": "goes.png", "mimeType": "image/png", "buffer": png_bytes(4)},
        ]
    )
    stays = page.get_by_role("link", name="Open stays.png")
    goes = page.get_by_role("link", name="Open goes.png")
    expect(stays).to_be_visible()
    expect(goes).to_be_visible()
    gateway.listed[sha256_hex(png_bytes(4))] = "quarantine"
    expect(page.locator(".notice.quarantined")).to_contain_text("goes.png")
    expect(goes).to_have_count(0)
    expect(stays.locator("img")).to_have_js_property("naturalWidth", 320)
    assert drive.platform()["matches"][0]["how"] == "stored scan"


def test_with_the_gateway_down_an_upload_is_held_and_not_shown(
    page: Page, drive: RunningDrive, gateway: StandInGateway
) -> None:
    gateway.available = False
    drop(page, ("later.png", png_bytes(5)))
    expect(page.locator(".notice.waiting")).to_contain_text("later.png")
    expect(page.get_by_role("link", name="Open later.png")).to_have_count(0)
    expect(page.locator("#files")).to_contain_text("Checking is interrupted")
    gateway.available = True
    expect(page.get_by_role("link", name="Open later.png")).to_be_visible(timeout=15_000)
    expect(page.locator(".notice.waiting")).to_have_count(0)


def test_every_page_fits_a_phone_in_both_colours(
    browser: Browser, drive: RunningDrive, gateway: StandInGateway
) -> None:
    gateway.listed[sha256_hex(png_bytes(6))] = "block"
    drive.upload(png_bytes(7), "a-very-long-name-" * 6 + ".png")
    reference = drive.upload(png_bytes(6), "x" * 100)["reference"]
    for scheme in ("light", "dark"):
        page = browser.new_page(
            viewport={"width": 390, "height": 844},
            color_scheme=scheme,  # type: ignore[arg-type] - both are allowed words.
        )
        for path in ("/", f"/notice/{reference}", "/platform", "/nowhere"):
            page.goto(drive.url + path)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, path
        page.close()


def test_a_keyboard_reaches_the_file_button_and_a_file_that_is_too_large_is_told_at_once(
    page: Page,
) -> None:
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "file":
            break
    assert page.evaluate("() => document.activeElement.id") == "file"
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(32000001)], "big.png"));
          const input = document.getElementById("file");
          input.files = data.files;
          input.dispatchEvent(new Event("change"));
        }"""
    )
    expect(page.locator("#progress .failed")).to_contain_text("larger than 32 MB")
