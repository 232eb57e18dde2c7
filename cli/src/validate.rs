//! `postern validate`: says what is wrong with files, where, and what to do.

use crate::Error;
use crate::compile::{Generated, Input, compile};
use jiff::Timestamp;

/// Arguments of `postern validate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,
}

/// Prints one line for each fault: file, line, field, reason.
///
/// # Errors
/// When there is at least one fault, or a path cannot be read: exit status 1.
pub fn run(args: &Args) -> Result<(), Error> {
    let compiled = compile(&args.input, Timestamp::now(), &mut Generated::new())?;
    for problem in &compiled.problems {
        crate::say(format_args!("{problem}"));
    }
    match compiled.problems.len() {
        0 => {
            crate::say(format_args!("{}", summary(&compiled.translation)));
            Ok(())
        }
        1 => Err(Error::Usage("1 problem".to_owned())),
        number => Err(Error::Usage(format!("{number} problems"))),
    }
}

fn summary(translation: &postern_operator::translation::Translation) -> String {
    format!(
        "valid: {} MailGateway, {} MailRoute, {} MailPolicy",
        translation.gateway_statuses.len(),
        translation.route_statuses.len(),
        translation.policy_statuses.len(),
    )
}
