//! Fuzzes the parsing of a Tapfile, from text to a configuration. The environment variables are fixed, and imports find
//! no file.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tapfan::config;

fn environment(name: &str) -> Option<String> {
    match name {
        "SITE" => Some("edge 1".to_owned()),
        "QUOTES" => Some("\"a\" \\ {b}".to_owned()),
        "EMPTY" => Some(String::new()),
        "LINES" => Some("admin off\ndrain 1s".to_owned()),
        _ => None,
    }
}

fuzz_target!(|text: &str| {
    // Imports must not read files of this machine, and a pattern could match all of them. So the special characters of
    // paths and patterns are replaced in a text that may contain imports.
    let imports = text
        .contains("port")
        .then(|| text.replace(['/', '*', '?', '[', '.'], "_"));
    let text = imports.as_deref().unwrap_or(text);
    let path = Path::new("/nonexistent/Tapfile");
    let loaded = config::parse(path, text, &environment);
    let rendered = loaded.diagnostics.render(false);
    assert_eq!(loaded.diagnostics.is_empty(), rendered.is_empty());
    assert_eq!(loaded.config.is_none(), loaded.diagnostics.has_errors());
    for problem in loaded.diagnostics.iter() {
        if let Some(place) = loaded.diagnostics.position(problem) {
            assert!(place.line >= 1 && place.column >= 1);
        }
    }
    let again = config::parse(path, text, &environment);
    assert_eq!(again.config, loaded.config);
    assert_eq!((again.files, again.digest), (loaded.files, loaded.digest));
});
