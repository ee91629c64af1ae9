//! A DNS server for sinks that are given by name.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, MessageType},
    rr::{RData, Record, RecordType, rdata},
};
use tokio::{net::UdpSocket, sync::watch, task::JoinHandle};

use crate::wait::patiently;

/// A DNS server that knows one name, and answers for no longer than the moment.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Vec<Ipv4Addr>>>,
    /// How many questions it has answered.
    answered: watch::Sender<usize>,
    task: JoinHandle<()>,
}

impl NameServer {
    pub(crate) async fn start(answer: &[Ipv4Addr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("bound");
        let answer = Arc::new(Mutex::new(answer.to_vec()));
        let answered = watch::Sender::new(0);
        let task = tokio::spawn(serve(socket, Arc::clone(&answer), answered.clone()));
        Self {
            address,
            answer,
            answered,
            task,
        }
    }

    /// Waits until it has answered so many questions more.
    pub(crate) async fn has_answered(&self, more: usize) {
        let mut answered = self.answered.subscribe();
        let wanted = *answered.borrow() + more;
        let waiting = answered.wait_for(|answered| *answered >= wanted);
        let _ = patiently("the name server is asked", waiting)
            .await
            .expect("it lives");
    }

    pub(crate) fn answers(&self, answer: &[Ipv4Addr]) {
        *self.answer.lock().expect("whole") = answer.to_vec();
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    socket: UdpSocket,
    answer: Arc<Mutex<Vec<Ipv4Addr>>>,
    answered: watch::Sender<usize>,
) {
    let mut buffer = [0; 2048];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.expect("received");
        let mut message = Message::from_vec(&buffer[..length]).expect("a query");
        let question = message.queries.first().expect("a question").clone();
        message.metadata.message_type = MessageType::Response;
        if question.query_type() == RecordType::A {
            for address in answer.lock().expect("whole").iter() {
                let (name, data) = (question.name().clone(), RData::A(rdata::A(*address)));
                message.answers.push(Record::from_rdata(name, 0, data));
            }
        }
        let bytes = message.to_vec().expect("encoded");
        socket.send_to(&bytes, client).await.expect("sent");
        answered.send_modify(|answered| *answered += 1);
    }
}
