//! The page at `/`, which shows the data of `/events`.
//!
//! The page's files are part of the binary and are served unchanged. A content security policy forbids the browser to fetch
//! anything from another server.

use axum::{
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};

#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// The path at which the file is served. The page refers to its files by relative paths, so that the page also
    /// works behind a proxy that serves it under a prefix.
    pub(super) path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

pub(super) const FILES: [File; 11] = [
    File::new("/", HTML, include_str!("index.html")),
    File::new("/page/page.css", CSS, include_str!("page.css")),
    File::new("/page/icon.svg", SVG, include_str!("icon.svg")),
    File::new("/page/main.js", SCRIPT, include_str!("main.js")),
    File::new("/page/words.js", SCRIPT, include_str!("words.js")),
    File::new("/page/elements.js", SCRIPT, include_str!("elements.js")),
    File::new("/page/verdict.js", SCRIPT, include_str!("verdict.js")),
    File::new("/page/listeners.js", SCRIPT, include_str!("listeners.js")),
    File::new("/page/sinks.js", SCRIPT, include_str!("sinks.js")),
    File::new("/page/sparkline.js", SCRIPT, include_str!("sparkline.js")),
    File::new("/page/flow.js", SCRIPT, include_str!("flow.js")),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The content security policy of the page. It allows only files of this server. It forbids inline scripts and styles,
/// markup that scripts make from strings, and other pages that show this page in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

// === impl File ===

impl File {
    const fn new(path: &'static str, content_type: &'static str, text: &'static str) -> Self {
        Self {
            path,
            content_type,
            text,
        }
    }

    /// Answers a `GET` of the file.
    pub(super) fn answer(self) -> Response {
        const HEADERS: [(HeaderName, &str); 3] = [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_FRAME_OPTIONS, "DENY"),
        ];
        let content_type = [(header::CONTENT_TYPE, self.content_type)];
        (content_type, HEADERS, self.text).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_is_served_and_none_refers_elsewhere() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
        let there: BTreeSet<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|file| {
                file.expect("a file")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .filter(|name| name != "mod.rs")
            .collect();
        let served: BTreeSet<String> = FILES
            .iter()
            .map(|file| match file.path.strip_prefix("/page/") {
                Some(name) => name.to_owned(),
                None => "index.html".to_owned(),
            })
            .collect();
        assert_eq!(there, served);
        for file in FILES {
            let foreign = file.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("://"), "{}", file.path);
            // The content security policy makes the browser block these constructs, so the page must not use them.
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                " style=",
                " onclick=",
            ] {
                assert!(!file.text.contains(forbidden), "{}: {forbidden}", file.path);
            }
        }
    }
}
