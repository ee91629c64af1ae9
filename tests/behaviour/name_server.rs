//! A DNS server that resolves the host names of sinks.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, RecordType, rdata},
};
use tokio::{net::UdpSocket, sync::watch, task::JoinHandle};

use crate::wait::with_timeout;

/// A DNS server that knows one name.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    /// The number of queries that the server has received so far, including unanswered ones.
    answered: watch::Sender<usize>,
    task: JoinHandle<()>,
}

/// The response of the name server to each query.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The response has these addresses, possibly none.
    Addresses(Vec<Ipv4Addr>),
    /// The response has this error code.
    Fails(ResponseCode),
    /// The response has these addresses if the query has no EDNS record, and the code FORMERR if it
    /// has one.
    WithoutEdns(Vec<Ipv4Addr>),
    /// No response.
    Silence,
    /// This many responses to each query, all with a wrong message id.
    WrongNumber(usize),
}

impl NameServer {
    /// Starts a server on loopback. Its answers have a TTL of 0.
    pub(crate) async fn start(answer: &[Ipv4Addr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        Self::on(socket, answer, 0)
    }

    /// Starts a server on this socket. Its answers have a TTL of `ttl` seconds.
    pub(crate) fn on(socket: UdpSocket, answer: &[Ipv4Addr], ttl: u32) -> Self {
        let address = socket.local_addr().expect("bound");
        let answer = Arc::new(Mutex::new(Answer::Addresses(answer.to_vec())));
        let answered = watch::Sender::new(0);
        let task = tokio::spawn(serve(socket, Arc::clone(&answer), ttl, answered.clone()));
        Self {
            address,
            answer,
            answered,
            task,
        }
    }

    /// Waits until the server has received this many further queries.
    pub(crate) async fn wait_for_queries(&self, more: usize) {
        let mut answered = self.answered.subscribe();
        let wanted = *answered.borrow() + more;
        let waiting = answered.wait_for(|answered| *answered >= wanted);
        let _ = with_timeout("the name server gets queries", waiting)
            .await
            .expect("the server runs");
    }

    pub(crate) fn set_addresses(&self, answer: &[Ipv4Addr]) {
        self.set_answer(Answer::Addresses(answer.to_vec()));
    }

    pub(crate) fn set_answer(&self, answer: Answer) {
        *self.answer.lock().expect("whole") = answer;
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    socket: UdpSocket,
    answer: Arc<Mutex<Answer>>,
    ttl: u32,
    answered: watch::Sender<usize>,
) {
    let mut buffer = [0; 2048];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.expect("received");
        let mut message = Message::from_vec(&buffer[..length]).expect("a query");
        let question = message.queries.first().expect("a question").clone();
        message.metadata.message_type = MessageType::Response;
        let answer = answer.lock().expect("whole").clone();
        let has_edns = message.edns.take().is_some();
        match &answer {
            Answer::WithoutEdns(_) if has_edns => {
                message.metadata.response_code = ResponseCode::FormErr;
            }
            Answer::Addresses(addresses) | Answer::WithoutEdns(addresses)
                if question.query_type() == RecordType::A =>
            {
                for address in addresses {
                    let (name, data) = (question.name().clone(), RData::A(rdata::A(*address)));
                    message.answers.push(Record::from_rdata(name, ttl, data));
                }
            }
            Answer::Fails(code) => message.metadata.response_code = *code,
            Answer::Addresses(_)
            | Answer::WithoutEdns(_)
            | Answer::Silence
            | Answer::WrongNumber(_) => {}
        }
        let (add, answers) = match answer {
            Answer::Silence => (0, 0),
            Answer::WrongNumber(answers) => (1, answers),
            Answer::Addresses(_) | Answer::WithoutEdns(_) | Answer::Fails(_) => (0, 1),
        };
        message.metadata.id = message.metadata.id.wrapping_add(add);
        let bytes = message.to_vec().expect("encoded");
        for _ in 0..answers {
            socket.send_to(&bytes, client).await.expect("sent");
        }
        answered.send_modify(|answered| *answered += 1);
    }
}
