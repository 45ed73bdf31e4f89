"""A person at the page of Label Studio: signs in, labels what is shown, one picture after the other, by keys and mouse.

Runs in the environment of the server: ``label_studio_person.py URL PROJECT COUNT WAY FOLDER`` prints the pictures in
the order in which they were shown, as JSON. WAY: ``keys`` (the first choice) or ``box`` (draws one with the mouse).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1400,1000",
)  # fmt: skip


def browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(180)
    driver.implicitly_wait(60)
    return driver


def until(found, what, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.5)
    raise SystemExit(f"waited in vain for {what}")


def shown(driver) -> str:
    """Address of the picture that is on the page and loaded."""
    script = """
    const all = [...document.querySelectorAll("img")].filter((one) => one.complete && one.naturalWidth);
    const one = all.find((one) => one.src.includes("/data/") || one.src.startsWith("blob:"));
    return one && document.querySelector("canvas") ? [one.src, location.href] : null;"""
    return driver.execute_script(script)


def draw(driver) -> None:
    canvas = driver.find_element(By.CSS_SELECTOR, ".konvajs-content canvas")
    wide, high = canvas.size["width"] // 4, canvas.size["height"] // 4
    mouse = ActionChains(driver).move_to_element_with_offset(canvas, -wide, -high).click_and_hold()
    mouse.move_by_offset(wide, high).release().perform()


def main(url: str, project: str, count: str, way: str, folder: str) -> None:
    driver = browser()
    seen = []
    try:
        driver.get(f"{url}/user/login/")
        driver.find_element(By.NAME, "email").send_keys("first@example.org")
        driver.find_element(By.NAME, "password").send_keys("labelwise-pw" + Keys.ENTER)
        time.sleep(3)
        driver.get(f"{url}/projects/{project}/data?labeling=1")
        for n in range(int(count)):
            last = seen[-1] if seen else None
            seen.append(until(lambda: (now := shown(driver)) and now != last and now, f"picture {n}"))  # noqa: B023
            time.sleep(2)
            driver.save_screenshot(str(Path(folder) / f"shown-{n}.png"))
            ActionChains(driver).send_keys("1").perform()
            time.sleep(0.5)
            if way == "box":
                draw(driver)
                time.sleep(0.5)
            driver.save_screenshot(str(Path(folder) / f"answered-{n}.png"))
            ActionChains(driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
            time.sleep(2)
        print(json.dumps(seen))
    finally:
        driver.save_screenshot(str(Path(folder) / "last.png"))
        driver.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
