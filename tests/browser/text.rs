//! Tests that the page shows text from the configuration as text, even if the text looks like HTML.

use serde_json::json;

use crate::{chromium::Chromium, collector::Collector, sender::Target, tapfan::Tapfan};

const NAME: &str = "<img src=x onerror=document.title=1><b>siem</b>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: .ci/run runs it"]
async fn a_name_with_markup_is_shown_as_text_and_the_policy_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let tapfile = format!("listen in.sock\ndrain 1s\ndnstap out.sock {{\nname \"{NAME}\"\n}}\n");
    let mut tapfan = Tapfan::new(folder.path(), &tapfile);
    tapfan.start().await;
    let browser = Chromium::start();
    browser.open(&tapfan.page());
    browser
        .until("the sink is shown", ".sink h3", |name| name == NAME)
        .await;
    browser
        .until("the verdict names the sink", "h1", |title| {
            title.starts_with(NAME)
        })
        .await;
    let absent = |text: &str| text.starts_with("no sender for ") && text.contains(", since ");
    browser
        .until("nobody sends", ".listener .senders", absent)
        .await;
    let who = browser.text(".listener .hint");
    assert!(who.starts_with("Allowed to connect: root"), "{who}");
    // A word in backticks is shown as code.
    assert_eq!(browser.text(".listener .hint code"), "group");
    let made = browser.run("return document.querySelectorAll('main img, main b').length");
    assert_eq!(made, json!(0));
    assert_eq!(browser.console(), [""; 0]);

    // The page also has a second protection: the browser must refuse to insert text as HTML.
    let refused = browser.run("try { document.body.innerHTML = '<p>'; return 'made' } catch (error) { return error.name }");
    assert_eq!(refused, json!("TypeError"));
    let ran = browser.run(
        "const script = document.createElement('script');
         script.append('window.ran = true');
         document.head.append(script);
         return window.ran ?? 'refused'",
    );
    assert_eq!(ran, json!("refused"));
    tapfan.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: .ci/run runs it"]
async fn only_connected_collectors_are_called_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let tapfile = "listen in.sock\ndrain 1s\ndnstap listen one.sock\ndnstap listen two.sock\n";
    let mut tapfan = Tapfan::new(folder.path(), tapfile);
    tapfan.start().await;
    let browser = Chromium::start();
    browser.open(&tapfan.page());
    let shown = async |expected: &'static str| {
        let is = |text: &str| text == expected;
        browser.until(expected, "#verdict p", is).await;
    };
    shown("2 sinks waiting for collectors, but nothing to send.").await;
    let [mut one, mut two] = [(); 2].map(|()| Collector::dialling());
    let target = Target::Unix(folder.path().join("one.sock"));
    one.follow(&target).await;
    shown("1 collector up, 1 sink waiting for collectors, but nothing to send.").await;
    two.follow(&target).await;
    shown("2 collectors up, 1 sink waiting for collectors, but nothing to send.").await;
    assert_eq!(browser.console(), [""; 0]);
    tapfan.stop().await;
}
