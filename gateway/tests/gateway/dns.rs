//! A name server on loopback that answers from a list.

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType, rdata::TXT};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// What is answered: TXT records by name. `SERVFAIL` as a text is that answer.
pub(crate) type Zone = Vec<(&'static str, String)>;

/// A running name server.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Dns {
    pub(crate) async fn start(zone: Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(zone);
        let task = tokio::spawn(async move {
            let mut octets = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut octets).await {
                if let Ok(question) = Message::from_vec(&octets[..length]) {
                    let answer = answer(&question, &zone).to_vec().unwrap();
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        });
        Self {
            address,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

fn answer(question: &Message, zone: &Zone) -> Message {
    let mut answer = question.clone();
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_available = true;
    answer.additionals.clear();
    answer.edns = None;
    let Some(query) = question.queries.first() else {
        return answer;
    };
    let name = query.name().to_string().to_ascii_lowercase();
    let found: Vec<_> = zone
        .iter()
        .filter(|(owner, _)| name.trim_end_matches('.') == *owner)
        .collect();
    if found.is_empty() {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    for (_, text) in found {
        if text == "SERVFAIL" {
            answer.metadata.response_code = ResponseCode::ServFail;
        } else if query.query_type() == RecordType::TXT {
            let strings = text
                .as_bytes()
                .chunks(255)
                .map(|c| String::from_utf8(c.into()).unwrap());
            let data = RData::TXT(TXT::new(strings.collect()));
            let owner: Name = query.name().clone();
            answer.answers.push(Record::from_rdata(owner, 60, data));
        }
    }
    answer
}
