//! The server: takes questions over UDP and TCP, finds the answer, sends it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use crate::answer::{Answer, answer, start_of_authority};
use crate::forward::Forwarder;
use crate::zone::Zone;

/// How long a TCP connection may be silent.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers that may wait for one slow TCP client.
const TCP_BACKLOG: usize = 32;
/// Aliases that are followed for one question.
const ALIASES_MAX: usize = 8;
/// Largest UDP answer: fits every network without fragments.
const UDP_PAYLOAD_MAX: u16 = 1232;

/// Starts answering on both sockets.
pub(crate) fn serve(handler: Handler, udp: UdpSocket, tcp: TcpListener) -> Server<Handler> {
    let mut server = Server::new(handler);
    server.register_socket(udp);
    server.register_listener(tcp, TCP_IDLE, TCP_BACKLOG);
    server
}

/// Binds both sockets of an address.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind(address).await?;
    // Port 0, in tests: the same port for both.
    let tcp = TcpListener::bind(udp.local_addr()?).await?;
    Ok((udp, tcp))
}

/// Answers questions from the newest zone, or with upstream's help.
pub(crate) struct Handler {
    pub(crate) zone: watch::Receiver<Arc<Zone>>,
    pub(crate) forwarder: Forwarder,
    /// Counts answers, so that clients which take the first address take different ones.
    pub(crate) turn: AtomicUsize,
}

/// What is sent back.
#[derive(Debug, Default)]
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Handler {
    async fn reply(&self, request: &Request) -> Reply {
        let Ok(info) = request.request_info() else { return Reply::error(ResponseCode::FormErr) };
        let query = info.query.original();
        let is_query = info.metadata.message_type == MessageType::Query;
        if !is_query || info.metadata.op_code != OpCode::Query {
            return Reply::error(ResponseCode::NotImp);
        }
        if query.query_class() != DNSClass::IN {
            return Reply::error(ResponseCode::Refused);
        }
        self.resolve(query.name(), query.query_type()).await
    }

    /// Follows aliases from `name` to records, in the cluster and outside.
    async fn resolve(&self, name: &Name, kind: RecordType) -> Reply {
        let zone = Arc::clone(&self.zone.borrow());
        let mut reply = Reply { authoritative: true, ..Reply::default() };
        let mut name = name.clone();
        for _ in 0..ALIASES_MAX {
            match answer(&zone, &name, kind) {
                Answer::Records { mut answers, additionals } => {
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                    let shift = turn % answers.len().max(1);
                    answers.rotate_left(shift);
                    reply.answers.append(&mut answers);
                    reply.additionals = additionals;
                    return reply;
                }
                Answer::Alias { record, target } => {
                    reply.answers.push(*record);
                    if kind == RecordType::CNAME {
                        return reply;
                    }
                    name = target;
                }
                Answer::NoData => return reply.nothing(&zone, ResponseCode::NoError),
                Answer::NoSuchName => return reply.nothing(&zone, ResponseCode::NXDomain),
                Answer::NotOurs => {
                    let mut forwarded = self.forwarder.ask(&name, kind).await;
                    reply.authoritative = !reply.answers.is_empty();
                    reply.answers.append(&mut forwarded.answers);
                    reply.authorities = forwarded.authorities;
                    reply.code = forwarded.code;
                    return reply;
                }
            }
        }
        Reply::error(ResponseCode::ServFail)
    }
}

impl Reply {
    fn error(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }

    fn nothing(mut self, zone: &Zone, code: ResponseCode) -> Self {
        self.code = code;
        self.authorities.extend(start_of_authority(zone));
        self
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response_handle: R,
    ) -> ResponseInfo {
        let reply = self.reply(request).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = true;
        metadata.response_code = reply.code;
        let edns = request.edns.as_ref().map(edns);
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let Reply { answers, authorities, additionals, .. } = &reply;
        let response = builder.build(metadata, answers, authorities, [], additionals);
        match response_handle.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                // The client has gone away, or asked in a way that has no answer.
                tracing::debug!(%error, "could not answer");
                metadata.response_code = ResponseCode::ServFail;
                ResponseInfo::from(hickory_server::proto::op::Header {
                    metadata,
                    counts: hickory_server::proto::op::HeaderCounts::default(),
                })
            }
        }
    }
}

fn edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(asked.max_payload().clamp(512, UDP_PAYLOAD_MAX));
    edns.set_version(0);
    edns
}

#[cfg(test)]
mod tests;
