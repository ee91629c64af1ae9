//! A running browser that has one tab.

use std::{fmt::Display, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use crate::{wait::TIMEOUT, webdriver::Driver};

/// A headless Chromium with a new profile. It makes no requests of its own.
pub(crate) struct Chromium {
    driver: Driver,
    session: String,
    _profile: TempDir,
}

impl Chromium {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let driver = Driver::start();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        }}});
        let session = driver.ask("POST", "/session", &wanted).expect("a session");
        let session = session["sessionId"].as_str().expect("an id").to_owned();
        let browser = Self {
            driver,
            session,
            _profile: profile,
        };
        // Discards the log so far, because the first page of the tab has loaded files of the
        // browser itself.
        browser.open("about:blank");
        browser.requests();
        browser
    }

    /// Opens a page.
    pub(crate) fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// Runs a script and returns its result. The script is the body of a function.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Returns the text of the first element that the selector matches. Returns an empty text if no
    /// element matches or if the element is not visible.
    pub(crate) fn text(&self, selector: &str) -> String {
        let selector = json!(selector);
        let script = format!(
            "const found = document.querySelector({selector}); return found && found.checkVisibility() ? found.textContent : ''"
        );
        self.run(&script).as_str().expect("text").to_owned()
    }

    /// Returns the title of the page.
    pub(crate) fn title(&self) -> String {
        let title = self.run("return document.title");
        title.as_str().expect("text").to_owned()
    }

    /// Waits until the text of the element that `selector` matches satisfies `condition`, and
    /// returns the text.
    pub(crate) async fn until(
        &self,
        what: impl Display,
        selector: &str,
        condition: impl Fn(&str) -> bool,
    ) -> String {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let text = self.text(selector);
            if condition(&text) {
                return text;
            }
            assert!(
                Instant::now() < deadline,
                "gave up after {TIMEOUT:?} waiting until {what}; {selector} says {text:?}; the page:\n{}",
                self.text("body")
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Presses a key. `key` is the code of the key in `WebDriver`.
    pub(crate) fn press(&self, key: char) {
        let down = json!({"type": "keyDown", "value": key.to_string()});
        let up = json!({"type": "keyUp", "value": key.to_string()});
        let keys = json!({"type": "key", "id": "keyboard", "actions": [down, up]});
        self.post("actions", &json!({ "actions": [keys] }));
    }

    /// Emulates a window of this width and scale, and a user who prefers this colour scheme.
    pub(crate) fn emulate(&self, width: u32, scale: f64, scheme: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "features": features }),
        );
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": scale, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Takes a screenshot of the whole page, as PNG in base64.
    pub(crate) fn screenshot(&self) -> String {
        let height = self.run("return document.documentElement.scrollHeight");
        let width = self.run("return innerWidth");
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let wanted = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.devtools("Page.captureScreenshot", &wanted);
        picture["data"].as_str().expect("a picture").to_owned()
    }

    /// Returns the messages in the console of the page since the last call.
    pub(crate) fn console(&self) -> Vec<String> {
        self.log("browser")
            .iter()
            .map(|entry| entry["message"].as_str().expect("text").to_owned())
            .collect()
    }

    /// Returns the URLs that the browser has requested since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        let events = self.log("performance");
        let events = events.iter().map(|entry| {
            let event = entry["message"].as_str().expect("text");
            serde_json::from_str::<Value>(event).expect("JSON")["message"].take()
        });
        events
            .filter(|event| event["method"] == "Network.requestWillBeSent")
            .map(|event| {
                let url = event["params"]["request"]["url"].as_str();
                url.expect("an address").to_owned()
            })
            .collect()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.post("se/log", &json!({ "type": kind }));
        log.as_array().expect("entries").clone()
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post(
            "goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{path}", self.session);
        block_in_place(|| self.driver.ask("POST", &path, body))
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let path = format!("/session/{}", self.session);
        // Deleting the session ends Chromium. If the test killed only the driver, Chromium would
        // keep running.
        let _ = self.driver.ask("DELETE", &path, &Value::Null);
    }
}
