//! The page at `/`: what `/events` says, for people.
//!
//! Its files are part of the program. Nothing is made on the way and nothing is fetched from elsewhere: the browser is told
//! not to.

use axum::{
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// Where it is. The page names its files relative to itself, so that it works behind a proxy that has put it deeper.
    pub(super) path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

/// Every file of the page.
pub(super) const FILES: [File; 11] = [
    File {
        path: "/",
        content_type: HTML,
        text: include_str!("index.html"),
    },
    File {
        path: "/page/page.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("page.css"),
    },
    File {
        path: "/page/icon.svg",
        content_type: "image/svg+xml",
        text: include_str!("icon.svg"),
    },
    File {
        path: "/page/main.js",
        content_type: SCRIPT,
        text: include_str!("main.js"),
    },
    File {
        path: "/page/words.js",
        content_type: SCRIPT,
        text: include_str!("words.js"),
    },
    File {
        path: "/page/elements.js",
        content_type: SCRIPT,
        text: include_str!("elements.js"),
    },
    File {
        path: "/page/verdict.js",
        content_type: SCRIPT,
        text: include_str!("verdict.js"),
    },
    File {
        path: "/page/listeners.js",
        content_type: SCRIPT,
        text: include_str!("listeners.js"),
    },
    File {
        path: "/page/sinks.js",
        content_type: SCRIPT,
        text: include_str!("sinks.js"),
    },
    File {
        path: "/page/sparkline.js",
        content_type: SCRIPT,
        text: include_str!("sparkline.js"),
    },
    File {
        path: "/page/flow.js",
        content_type: SCRIPT,
        text: include_str!("flow.js"),
    },
];

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Only what this server serves, no script or style in the text, no text made markup, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

// === impl File ===

impl File {
    /// The answer to a `GET` of it.
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
    fn every_file_is_served_and_nothing_of_elsewhere_is_named() {
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
            // What the policy forbids would only be seen not to work.
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
