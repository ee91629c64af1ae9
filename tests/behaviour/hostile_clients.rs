//! Clients of the admin endpoint that want to keep others out.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use tokio::task::block_in_place;

use crate::{
    admin::serve,
    http::{get, request},
    router::Router,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_silent_and_greedy_clients_keep_no_probe_out() {
    let router = Router::start("listen @tapfan-test-slow-clients\ndnstap @tapfan-test-nobody\n");
    let (_server, address) = serve(router.view(), "");
    block_in_place(|| {
        let connect = |said: &[u8]| {
            let mut stream = TcpStream::connect(address).expect("connected");
            stream.write_all(said).expect("written");
            stream
        };
        // Three times as many as may be at once: never a whole head, silence, and answers that nobody reads.
        let mut held = Vec::new();
        let many = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
        for _ in 0..64 {
            held.push(connect(b"GET /livez HTTP/1.1\r\nx: "));
            held.push(connect(b""));
            held.push(connect(&many));
            let answer = get(address, "/livez");
            assert_eq!(answer.status, 200);
            // Less than any of those that hold on to a connection may.
            assert!(answer.took < Duration::from_secs(8), "{:?}", answer.took);
        }
        // The first of them had to go.
        let first = &mut held[0];
        first
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        let ended = first.read(&mut [0; 1024]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    });
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_end_ends_in_time_and_what_is_too_long_is_refused() {
    let router = Router::start("listen @tapfan-test-long-heads\ndnstap @tapfan-test-nobody\n");
    let (_server, address) = serve(router.view(), "");
    block_in_place(|| {
        let long = format!("x: {}\r\n", "y".repeat(64 << 10));
        let answer = request(address, "GET", "/livez", &long, "");
        assert_eq!(answer.status, 431);
        let mut slow = TcpStream::connect(address).expect("connected");
        slow.set_read_timeout(Some(Duration::from_secs(30)))
            .expect("set");
        let begun = Instant::now();
        slow.write_all(b"GET /livez HTTP/1.1\r\n").expect("written");
        let mut said = Vec::new();
        // However it ends, it ends.
        let _ = slow.read_to_end(&mut said);
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
        assert!(!said.starts_with(b"HTTP/1.1 200"));
    });
    router.drain().await;
}
