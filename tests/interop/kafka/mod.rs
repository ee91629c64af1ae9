//! Tests of sinks that write to Kafka, with real brokers.
//!
//! Kafka's own Java client reads the topics, so the tests share no code with tapfan.
//! `java/Broker.java` and `java/Client.java` are the programs that run and use Kafka.

mod client;
mod cluster;
mod disk;
mod flow;
mod leaders;
mod logins;
mod lost_answers;
mod names;
mod outages;
mod partitions;
mod record;
mod recorded;
mod refusals;
mod scrapes;
