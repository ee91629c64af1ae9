//! Tests of the layout of the page with long names, and of the page before it has any data.

use std::{fs, net::Ipv4Addr, path::Path};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{chromium::Chromium, tapfan::Tapfan};

/// Returns the texts that extend beyond the right edge of their box: of a node of the flow chart, of
/// a listener, of a sink, or of the verdict.
const OUTSIDE: &str = "
    const outside = [];
    const boxes = [...document.querySelectorAll('g.node, .listener, .sink, .verdict')];
    for (const box of boxes) {
      const edge = (box.querySelector(':scope > rect') ?? box).getBoundingClientRect().right;
      const texts = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        const parent = texts.currentNode.parentElement;
        if (!parent.checkVisibility() || parent.matches('title') || parent.closest('.unseen')) continue;
        const range = document.createRange();
        range.selectNodeContents(texts.currentNode);
        const right = range.getBoundingClientRect().right;
        if (right > edge + 0.5) outside.push(`${parent.tagName} ${texts.currentNode.data} ${Math.round(right - edge)}`);
      }
    }
    if (boxes.length < 7) outside.push(`only ${boxes.length} boxes`);
    return outside";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: .ci/run runs it"]
async fn long_names_stay_in_their_boxes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (wide, narrow) = ("W".repeat(60), "il".repeat(40));
    let tapfile = format!(
        "listen {wide}\nlisten {narrow}\ndrain 1s\n\
         dnstap {wide}.out {{\nname {wide}\n}}\ndnstap {narrow}.out {{\nname {narrow}\n}}\n"
    );
    let mut tapfan = Tapfan::new(folder.path(), &tapfile);
    tapfan.start().await;
    let browser = Chromium::start();
    browser.open(&tapfan.page());
    browser
        .until("the sinks are down", ".badge strong", |word| word == "Down")
        .await;
    for width in [360, 700, 1_200] {
        browser.emulate(width, 1.0, "light");
        // Waits until the page has redrawn its flow diagram for the new width.
        let drawn = "const flow = document.querySelector('.flow');
            return Math.abs(flow.querySelector('svg').clientWidth - flow.clientWidth) < 2";
        crate::wait::until("the flow is redrawn", || browser.run(drawn) == json!(true)).await;
        assert_eq!(browser.run(OUTSIDE), json!([]), "{width}");
        let names = browser.run(
            "return [...document.querySelectorAll('g.node .name')].map((one) => one.textContent)",
        );
        let names = names.as_array().expect("a list");
        // Narrow letters need less room, so more of them are shown.
        let letters = |name: usize| names[name].as_str().expect("text").chars().count();
        assert!(letters(1) > letters(0) + 5, "{names:?}");
    }
    tapfan.stop().await;
}

/// Serves the files of the page. Answers no other request.
async fn serve(listener: TcpListener) {
    let mut silent = Vec::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        if !answer(&mut stream).await {
            silent.push(stream);
        }
    }
}

/// Answers a request for a file of the page. Returns whether the request was for such a file.
async fn answer(stream: &mut TcpStream) -> bool {
    let mut request = [0; 4096];
    let read = stream.read(&mut request).await.unwrap_or_default();
    let request = String::from_utf8_lossy(&request[..read]);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (name, kind) = match path {
        "/" => ("index.html", "text/html"),
        path => match path
            .strip_prefix("/page/")
            .and_then(|name| name.split_once('.'))
        {
            Some((_, "js")) => (&path[6..], "text/javascript"),
            Some((_, "css")) => (&path[6..], "text/css"),
            Some(_) => (&path[6..], "image/svg+xml"),
            None => return false,
        },
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
    let text = fs::read_to_string(folder.join(name)).expect("a file of the page");
    let length = text.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let _ = stream.write_all((head + &text).as_bytes()).await;
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: .ci/run runs it"]
async fn the_page_says_that_it_waits_for_data_and_then_that_the_router_is_lost() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bound");
    let page = format!("http://{}/", listener.local_addr().expect("bound"));
    tokio::spawn(serve(listener));
    let browser = Chromium::start();
    browser.open(&page);
    let asking = |text: &str| text == "Asking the router …";
    browser.until("the page asks", "#asking", asking).await;
    assert_eq!(browser.text("#lost"), "");
    let lost = |text: &str| text.starts_with("The router does not answer");
    browser.until("the page gives up", "#lost", lost).await;
    assert_eq!(browser.text("#asking"), "");

    let folder = tempfile::tempdir().expect("a folder");
    let mut tapfan = Tapfan::new(folder.path(), "listen in.sock\ndrain 1s\ndnstap out.sock\n");
    tapfan.start().await;
    browser.open(&tapfan.page());
    browser
        .until("there is data", "h1", |title| !title.is_empty())
        .await;
    assert_eq!(browser.text("#asking"), "");
    tapfan.stop().await;
}
