//! The web page: one shell for all its pages, and what it loads. All of it is in the binary, and none of it tells anything
//! about mail: the page asks the API, as anybody else does.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest as _, Sha256};

use crate::{Error, State};

/// No script or style but our own files, no other host, nothing to embed, nothing in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A browser asks each time whether a file is still the same, so that no two files are ever of different versions.
const CACHING: &str = "no-cache";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file of the folder `assets`, under its name there.
macro_rules! asset {
    ($path:literal, $content_type:expr) => {
        Asset::new(
            $path,
            $content_type,
            include_bytes!(concat!("../../assets/", $path)),
        )
    };
}

static SHELL: LazyLock<Asset> = LazyLock::new(|| asset!("index.html", HTML));

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    vec![
        asset!("api.js", SCRIPT),
        asset!("app.js", SCRIPT),
        asset!("chart.js", SCRIPT),
        asset!("dom.js", SCRIPT),
        asset!("format.js", SCRIPT),
        asset!("icon.svg", SVG),
        asset!("parts.js", SCRIPT),
        asset!("style.css", CSS),
        asset!("words.js", SCRIPT),
        asset!("pages/audit.js", SCRIPT),
        asset!("pages/deliveries.js", SCRIPT),
        asset!("pages/delivery.js", SCRIPT),
        asset!("pages/domain.js", SCRIPT),
        asset!("pages/drop.js", SCRIPT),
        asset!("pages/mailboxes.js", SCRIPT),
        asset!("pages/overview.js", SCRIPT),
        asset!("pages/records.js", SCRIPT),
        asset!("pages/report.js", SCRIPT),
        asset!("pages/reports.js", SCRIPT),
        asset!("pages/sign_in.js", SCRIPT),
        asset!("pages/source.js", SCRIPT),
        asset!("pages/tokens.js", SCRIPT),
        asset!("pages/upload.js", SCRIPT),
        asset!("pages/verdict.js", SCRIPT),
        asset!("pages/welcome.js", SCRIPT),
        asset!("vendor/uPlot.LICENSE", TEXT),
        asset!("vendor/uPlot.iife.min.js", SCRIPT),
        asset!("vendor/uPlot.min.css", CSS),
    ]
});

/// A file that a browser loads.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
    etag: String,
}

impl Asset {
    fn new(path: &'static str, content_type: &'static str, content: &'static [u8]) -> Self {
        Self {
            path,
            content_type,
            content,
            etag: format!("\"{}\"", store::hex(&Sha256::digest(content)[..16])),
        }
    }

    /// The file, or word that the browser has it already.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let about = [
            (header::ETAG, self.etag.as_str()),
            (header::CACHE_CONTROL, CACHING),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ];
        let known = headers
            .get(header::IF_NONE_MATCH)
            .and_then(|known| known.to_str().ok());
        if known.is_some_and(|known| known.split(',').any(|etag| etag.trim() == self.etag)) {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        let content_type = [(header::CONTENT_TYPE, self.content_type)];
        (about, content_type, self.content).into_response()
    }
}

/// The pages, which are all the same file: it reads its address. `assets/app.js` has the same list.
pub(super) fn pages() -> Router<State> {
    let shell = || get(async |headers: HeaderMap| SHELL.answer(&headers));
    Router::new()
        .route("/", shell())
        .route("/domains/{domain}", shell())
        .route("/sources/{ip}", shell())
        .route("/reports", shell())
        .route("/reports/{report_uid}", shell())
        .route("/deliveries", shell())
        .route("/deliveries/{delivery_id}", shell())
        .route("/mailboxes", shell())
        .route("/upload", shell())
        .route("/tokens", shell())
        .route("/audit", shell())
        .route("/assets/{*path}", get(asset))
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    let asset = ASSETS.iter().find(|asset| asset.path == path);
    Ok(asset.ok_or(Error::UnknownRoute)?.answer(&headers))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn files_below(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                files_below(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }

    #[test]
    fn every_file_is_served() {
        let mut files = BTreeSet::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        files_below(&folder, "", &mut files);
        files.remove("index.html");
        let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
        assert_eq!(served, files);
    }

    #[test]
    fn every_module_is_asked_for_at_once() {
        let shell = std::str::from_utf8(SHELL.content).unwrap();
        for asset in ASSETS.iter() {
            let is_module = asset.content_type == SCRIPT && !asset.path.starts_with("vendor/");
            let preload = format!(
                r#"<link rel="modulepreload" href="/assets/{}">"#,
                asset.path
            );
            let is_first = asset.path == "app.js";
            assert_eq!(
                shell.contains(&preload),
                is_module && !is_first,
                "{}",
                asset.path
            );
        }
    }

    #[test]
    fn all_of_it_is_small() {
        const BYTES_MAX: usize = 300_000;
        let sizes = ASSETS.iter().map(|asset| asset.content.len());
        let bytes = sizes.sum::<usize>() + SHELL.content.len();
        assert!(bytes < BYTES_MAX, "{bytes}");
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for asset in ASSETS.iter().chain([&*SHELL]) {
            let text = std::str::from_utf8(asset.content).unwrap();
            if asset.path.starts_with("vendor/") {
                continue;
            }
            for wrong in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                " style=",
                "eval(",
            ] {
                assert!(!text.contains(wrong), "{}: {wrong}", asset.path);
            }
            let addresses = text.matches("://").count();
            let names = text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(addresses, names, "{}", asset.path);
        }
    }
}
