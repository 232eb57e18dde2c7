//! Any octets as a backend's: the client side ends, says whole command lines only, and keeps no
//! more than one reply.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern_fuzz::input::{front, pieces};
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::client::{
    Conversation, Ending, Envelope, EnvelopeAnswer, Mail, MessageAnswers, Opening, Plan, Protocol,
    StartTls, Step,
};

fuzz_target!(|input: &[u8]| {
    let ([mode, sizes @ ..], octets) = front::<4>(input);
    let protocol = match mode & 1 {
        0 => Protocol::Smtp,
        _ => Protocol::Lmtp,
    };
    let ending = match mode & 2 {
        0 => Ending::Data,
        _ => Ending::Reset,
    };
    let pieces = pieces(octets, &sizes);
    let mut pieces = pieces.iter().copied();
    if let Some(conversation) = open(protocol, &mut pieces) {
        transact(conversation, ending, &mut pieces);
    }
});

fn open<'a>(
    protocol: Protocol,
    pieces: &mut impl Iterator<Item = &'a [u8]>,
) -> Option<Conversation> {
    let mut opening = Opening::new(
        protocol,
        Plan {
            hello: "mx.example.com".to_owned(),
            starttls: StartTls::IfOffered,
            login: None,
        },
    );
    loop {
        match opening.step().ok()? {
            Step::Wait => opening.conversation().receive(pieces.next()?),
            Step::StartTls => opening.tls_established(),
            Step::Ready => return Some(opening.into_conversation()),
        }
        write(opening.conversation());
    }
}

fn transact<'a>(
    mut conversation: Conversation,
    ending: Ending,
    pieces: &mut impl Iterator<Item = &'a [u8]>,
) -> Option<()> {
    let recipients: Vec<Mailbox> = (0..70)
        .filter_map(|n| format!("u{n}@acme.test").parse().ok())
        .collect();
    let mail = Mail {
        reverse_path: &ReversePath::Null,
        size: Some(10),
        eight_bit_mime: true,
        smtputf8: true,
    };
    let mut envelope = Envelope::new(&mut conversation, &mail, &recipients, ending).ok()?;
    let answer = loop {
        let answer = envelope.step(&mut conversation).ok()?;
        write(&mut conversation);
        match answer {
            Some(answer) => break answer,
            None => conversation.receive(pieces.next()?),
        }
    };
    match answer {
        EnvelopeAnswer::GoAhead => {}
        EnvelopeAnswer::Recipients(replies) => {
            assert_eq!(replies.len(), recipients.len());
            return None;
        }
        EnvelopeAnswer::MailRefused(_) | EnvelopeAnswer::DataRefused(_) => return None,
    }
    assert!(ending == Ending::Data);
    conversation.early().ok()?;
    let mut message = MessageAnswers::new(&mut conversation, recipients.len());
    loop {
        match message.step(&mut conversation).ok()? {
            Some(replies) => {
                assert!(replies.iter().all(|r| !r.is_intermediate()));
                return Some(());
            }
            None => conversation.receive(pieces.next()?),
        }
    }
}

fn write(conversation: &mut Conversation) {
    let output = conversation.output();
    assert!(output.is_empty() || output.ends_with(b"\r\n"));
    conversation.written();
}
