//! `postern`: one binary with every command.

use clap::{CommandFactory as _, Parser, Subcommand};
use postern_cli::{Error, demo, gateway, operator, run, translate, validate};
use std::process::ExitCode;

// Two TLS users in one process, kube and our own: one provider for both.
fn install_crypto_provider() {
    // Fails only when one is installed already, and then it is the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Postern, a Kubernetes-native mail gateway.
#[derive(Debug, Parser)]
#[command(
    name = "postern",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a gateway from files, without a cluster; changes of the files are followed.
    Run(run::Args),
    /// Check files: prints file, line, field and reason of each fault; exit status 1 if any.
    Validate(validate::Args),
    /// Show what files compile to.
    Translate(translate::Args),
    /// Show a gateway at work: genuine and forged mail, verdicts, traces. All on loopback.
    Demo(demo::Args),
    /// Print the CustomResourceDefinitions.
    Crds,
    /// Reconcile custom resources into gateways (runs in the cluster).
    Operator(operator::Args),
    /// Serve mail from a snapshot (runs in gateway pods).
    Gateway(gateway::Args),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    install_crypto_provider();
    let arguments = Arguments::parse();
    match dispatch(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            postern_cli::warn(format_args!("postern: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<(), Error> {
    match command {
        Command::Validate(args) => validate::run(&args),
        Command::Translate(args) => translate::run(&args),
        Command::Crds => postern_cli::print(&postern_crds::yaml()),
        Command::Completions { shell } => {
            // Not straight to the output: clap_complete panics when that cannot be written.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "postern", &mut script);
            postern_cli::print(&String::from_utf8_lossy(&script))
        }
        Command::Run(args) => block_on(run::run(args)),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Operator(args) => block_on(operator::run(args)),
        Command::Gateway(args) => block_on(gateway::run(args)),
    }
}

fn block_on(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::failed("start", e))?
        .block_on(work)
}
