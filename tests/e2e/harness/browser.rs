//! Chromium without a screen, spoken to over a pipe in its own protocol (<https://chromedevtools.github.io/devtools-protocol/>).

mod pipe;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::sleep,
};

use super::{DEADLINE, eventually};
use pipe::Pipe;

/// Browsers at a time: each takes some 300 MiB and most of a core while it starts.
static BROWSERS: Semaphore = Semaphore::const_new(2);

/// Of a phone.
pub(crate) const PHONE: u32 = 390;
/// Of a desk.
pub(crate) const DESK: u32 = 1280;

const TEXT: &str = "document.body.innerText";

/// The page is looked at so often while something is waited for: looking takes time from what is waited for.
const LOOKS: Duration = Duration::from_millis(20);

/// How the page is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) dark: bool,
}

/// A browser with one page of a service open.
pub(crate) struct Browser {
    pipe: Pipe,
    session: String,
    origin: String,
    _permit: SemaphorePermit<'static>,
}

impl Browser {
    /// A browser that shows nothing yet; whatever it opens is of this service.
    pub(crate) async fn start(service: SocketAddr) -> Self {
        let permit = BROWSERS.acquire().await.unwrap();
        let pipe = Pipe::open();
        let target = pipe
            .call(None, "Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = pipe.call(None, "Target.attachToTarget", attach).await;
        let browser = Self {
            session: attached["sessionId"].as_str().unwrap().into(),
            pipe,
            origin: format!("http://{service}"),
            _permit: permit,
        };
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser
            .look(Look {
                width: DESK,
                dark: false,
            })
            .await;
        browser
    }

    pub(crate) async fn call(&self, method: &str, parameters: Value) -> Value {
        self.pipe
            .call(Some(&self.session), method, parameters)
            .await
    }

    pub(crate) async fn look(&self, Look { width, dark }: Look) {
        let size =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Takes the network away from the page, or gives it back.
    pub(crate) async fn offline(&self, offline: bool) {
        let network = json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.call("Network.enable", json!({})).await;
        self.call("Network.emulateNetworkConditions", network).await;
    }

    /// Opens a page and waits until it shows what it has to show.
    pub(crate) async fn open(&self, path: &str) {
        self.value("document.documentElement?.remove()").await;
        let url = format!("{}{path}", self.origin);
        self.call("Page.navigate", json!({"url": url})).await;
        self.settled().await;
    }

    /// Waits until nothing is on its way to the page any more.
    pub(crate) async fn settled(&self) {
        self.until(
            "document.getElementById('main') && !document.querySelector('[aria-busy=true]')",
        )
        .await;
    }

    /// What an expression in the page comes to; a promise is waited for.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        self.evaluate(expression)
            .await
            .unwrap_or_else(|fault| panic!("{expression}: {fault}"))
    }

    /// As `value`; an error where the expression throws, or the page goes away meanwhile.
    async fn evaluate(&self, expression: &str) -> Result<Value, Value> {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let session = Some(self.session.as_str());
        let answer = self.pipe.ask(session, "Runtime.evaluate", asked).await?;
        match answer.get("exceptionDetails") {
            Some(fault) => Err(fault.clone()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until an expression holds, across changes of the page.
    pub(crate) async fn until(&self, expression: &str) {
        let holds = format!("Boolean({expression})");
        let start = Instant::now();
        loop {
            let answer = self.evaluate(&holds).await;
            if answer.as_ref().is_ok_and(|holds| *holds == true) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{expression}: {answer:?}");
            sleep(LOOKS).await;
        }
    }

    /// The visible text of the page.
    pub(crate) async fn text(&self) -> String {
        let text = self.value(TEXT).await;
        text.as_str().unwrap().into()
    }

    /// Waits until the page shows this text, across changes of the page.
    pub(crate) async fn shows(&self, text: &str) {
        let start = Instant::now();
        loop {
            // A page that begins has no body yet.
            let shown = self.evaluate(TEXT).await.unwrap_or_else(|fault| fault);
            if shown.as_str().is_some_and(|shown| shown.contains(text)) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{text:?} is not in {shown}");
            sleep(LOOKS).await;
        }
    }

    /// The path and query of the page's address.
    pub(crate) async fn address(&self) -> String {
        let address = self.value("location.pathname + location.search").await;
        address.as_str().unwrap().into()
    }

    /// Clicks the first link or button with this text, and waits for what follows.
    pub(crate) async fn click(&self, text: &str) {
        let text = Value::from(text);
        let found = format!(
            "[...document.querySelectorAll('a, button, summary')]\
             .find((one) => one.textContent.trim() === {text} && one.getClientRects().length > 0)"
        );
        let click = format!("((found) => found ? (found.click(), true) : false)({found})");
        self.until(&found).await;
        // It may be gone again by now. Where the answer is lost, the click has led to another page.
        while self.evaluate(&click).await.is_ok_and(|done| done == false) {
            self.until(&found).await;
        }
        self.settled().await;
    }

    /// Types into the field with this id.
    pub(crate) async fn fill(&self, id: &str, text: &str) {
        self.value(&format!(
            "document.getElementById({id:?}).focus(), document.getElementById({id:?}).select?.()"
        ))
        .await;
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Chooses among what the field with this id offers.
    pub(crate) async fn choose(&self, id: &str, value: &str) {
        let field = format!("document.getElementById({id:?})");
        let chosen = format!("({field}.value = {value:?}, {field}.value)");
        assert_eq!(self.value(&chosen).await, value, "{id} offers it");
    }

    /// Presses a key and lets go of it.
    pub(crate) async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "ArrowRight" => (39, ""),
            other => panic!("no such key here: {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Chooses files where the page asks for some.
    pub(crate) async fn choose_files(&self, files: &[&Path]) {
        let document = self.call("DOM.getDocument", json!({})).await;
        let find = json!({"nodeId": document["root"]["nodeId"], "selector": "input[type=file]"});
        let input = self.call("DOM.querySelector", find).await;
        let choose = json!({"nodeId": input["nodeId"], "files": files});
        self.call("DOM.setFileInputFiles", choose).await;
    }

    /// Drops files or folders on the first element that matches.
    pub(crate) async fn drop_files(&self, selector: &str, files: &[&Path]) {
        let place = format!(
            "(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])(document.querySelector({selector:?}).getBoundingClientRect())"
        );
        let place = self.value(&place).await;
        for kind in ["dragEnter", "dragOver", "drop"] {
            let data = json!({"items": [], "files": files, "dragOperationsMask": 1});
            let event = json!({"type": kind, "x": place[0], "y": place[1], "data": data});
            self.call("Input.dispatchDragEvent", event).await;
        }
    }

    /// Clicks a link and returns the file that it saves.
    pub(crate) async fn download(&self, text: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let to = json!({"behavior": "allow", "downloadPath": folder.path()});
        self.call("Browser.setDownloadBehavior", to).await;
        self.click(text).await;
        let saved = || -> Option<PathBuf> {
            let files = std::fs::read_dir(folder.path()).unwrap();
            let mut files = files.map(|file| file.unwrap().path());
            // Until it is complete it has another name, and its own is held by an empty file: an empty one never counts.
            files.find(|file| {
                let is_whole = file.extension().is_none_or(|kind| kind != "crdownload");
                is_whole && file.metadata().is_ok_and(|file| file.len() > 0)
            })
        };
        eventually("the file is saved", async || saved().is_some()).await;
        std::fs::read(saved().unwrap()).unwrap()
    }

    pub(crate) async fn go_back(&self) {
        self.value("history.back()").await;
    }

    pub(crate) async fn go_forward(&self) {
        self.value("history.forward()").await;
    }

    /// A picture of the whole page, or of as much of it as this many pixels show.
    pub(crate) async fn screenshot(&self, width: u32, height_max: u64) -> Vec<u8> {
        let height = self.value("document.documentElement.scrollHeight").await;
        let height = height.as_u64().unwrap().clamp(600, height_max);
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let asked = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.call("Page.captureScreenshot", asked).await;
        BASE64_STANDARD
            .decode(shot["data"].as_str().unwrap())
            .unwrap()
    }

    /// Everything that must not happen: scripts that fail or talk, dialogs, what the policy of the page forbids.
    pub(crate) fn faults(&self) -> Vec<String> {
        let events = self.pipe.events();
        let is_fault = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown" | "Page.javascriptDialogOpening") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            // Answers such as 404 are logged as well, with "network" as their source, and advice on forms.
            Some("Log.entryAdded") => {
                let source = &event["params"]["entry"]["source"];
                source != "network" && source != "recommendation"
            }
            _ => false,
        };
        events
            .iter()
            .filter(is_fault)
            .map(Value::to_string)
            .collect()
    }

    /// Asserts that nothing went wrong, and ends the browser.
    pub(crate) async fn close(self) {
        assert_eq!(self.faults(), Vec::<String>::new());
        self.pipe.close().await;
    }
}
