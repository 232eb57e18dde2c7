//! `postern demo`: a gateway at work, on one machine, in a few seconds.
//!
//! The objects of examples/quickstart are compiled and run with a DNS zone, a certificate and a
//! backend of their own, all on loopback. Six mails are sent through real sockets and TLS; each is
//! printed with its reply, the verdict of every check, its whereabouts and its trace.

pub mod client;
pub mod dns;
mod print;
mod scenes;
pub mod signing;
pub mod sink;
mod stage;

use crate::Error;
use crate::say;
use crate::stop::Stop;
use postern_gateway::telemetry::record::TransactionRecord;
use scenes::{SCENES, Scene};
use stage::Stage;
use std::time::{Duration, Instant};

/// A record comes at the end of its transaction; longer is a fault.
const RECORD: Duration = Duration::from_secs(10);

/// Arguments of `postern demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the gateway running afterwards and print commands to try.
    #[arg(long)]
    keep: bool,
}

/// Plays all scenes.
///
/// # Errors
/// When a scene did not end as it should have, or the stage could not be set.
pub async fn run(args: Args) -> Result<(), Error> {
    let began = Instant::now();
    let mut stage = Stage::set().await?;
    say(format_args!(
        "gateway mx1.acme.test at {}, DNS at {}, mail store at {}\n",
        stage.gateway_address(),
        stage.dns_address(),
        stage.sink_address()
    ));
    let mut failed = 0_usize;
    for (number, scene) in SCENES.iter().enumerate() {
        say(format_args!("{}. {}", number + 1, scene.title));
        let wrong = play(&mut stage, scene).await?;
        for fault in &wrong {
            say(format_args!("    NOT AS EXPECTED: {fault}"));
        }
        failed += usize::from(!wrong.is_empty());
        say(format_args!(""));
    }
    let seconds = began.elapsed().as_secs_f64();
    let as_expected = SCENES.len() - failed;
    say(format_args!(
        "{as_expected} of {} as expected, in {seconds:.1} s",
        SCENES.len()
    ));
    if args.keep {
        // Before the commands are shown: who reads them may end it at once.
        let mut stop = Stop::listen()?;
        say(format_args!("{}", stage.commands()));
        stop.asked().await;
    }
    stage.clear();
    match failed {
        0 => Ok(()),
        _ => Err(Error::Failed(format!(
            "{failed} scenes did not end as expected"
        ))),
    }
}

/// Plays a scene, prints what happened, and says what was not as expected.
async fn play(stage: &mut Stage, scene: &Scene) -> Result<Vec<String>, Error> {
    let reply = stage.play(scene.act).await?;
    let shown = match &reply {
        Some(reply) => format!("{} {}", reply.code, reply.text),
        None => "none: the connection was cut".to_owned(),
    };
    say(format_args!("    reply    {shown}"));
    let mut wrong = Vec::new();
    let as_expected = match (&reply, scene.reply) {
        (Some(reply), Some((code, text))) => reply.code == code && reply.text.starts_with(text),
        (None, None) => true,
        _ => false,
    };
    if !as_expected {
        wrong.push(format!("the reply should have been {:?}", scene.reply));
    }
    match tokio::time::timeout(RECORD, stage.record()).await {
        Ok(Some(record)) => show(&record),
        _ => wrong.push("the gateway left no record of the transaction".to_owned()),
    }
    let mails = stage.arrived();
    match mails.first() {
        Some(mail) => say(format_args!("    went to  {}", whereabouts(mail))),
        None => say(format_args!("    went to  nobody")),
    }
    if mails.len() != usize::from(scene.delivered) {
        wrong.push(format!("the mail store has {} mails of it", mails.len()));
    }
    Ok(wrong)
}

fn show(record: &TransactionRecord) {
    let checks = print::checks(record);
    if !checks.is_empty() {
        say(format_args!("    verdicts\n{}", checks.trim_end()));
    }
    say(format_args!("    ended    {}", record.disposition.as_str()));
    say(format_args!("{}", print::trace(record).trim_end()));
}

fn whereabouts(mail: &sink::Received) -> String {
    format!(
        "the mail store, for {}: {} octets, {} put in front by the gateway",
        mail.recipients.join(" "),
        mail.message.len(),
        fields_in_front(&mail.message).join(", ")
    )
}

/// The names of the fields above the sender's own first one.
fn fields_in_front(message: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(message)
        .lines()
        .take_while(|line| !line.starts_with("DKIM-Signature") && !line.starts_with("From"))
        .filter(|line| !line.starts_with([' ', '\t']))
        .filter_map(|line| line.split_once(':').map(|(name, _)| name.to_owned()))
        .collect()
}
