//! What a newcomer, or a script gone wrong, may give to `postern`: each time one clear line with
//! file, line and what to do, exit status 1, and no panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use postern_tests::folder::Folder;
use postern_tests::ports::free_port;
use postern_tests::tools;
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

fn gateway(port: u16) -> String {
    format!(
        "apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {{name: edge, namespace: mail}}
spec:
  hostname: mx1.acme.test
  listeners:
  - {{name: mx, port: {port}, protocol: SMTP}}
"
    )
}

/// Exit status and everything that was printed.
fn postern(folder: &Path, arguments: &[&str]) -> (i32, String) {
    finish(Command::new(tools::postern()).args(arguments), folder)
}

fn finish(command: &mut Command, folder: &Path) -> (i32, String) {
    let output = command.current_dir(folder).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(!printed.contains("panicked"), "{printed}");
    (output.status.code().unwrap(), printed)
}

/// Validates one file and wants these parts in the first line that is printed.
fn refused(octets: impl AsRef<[u8]>, parts: &[&str]) {
    let folder = Folder::new("nonsense");
    std::fs::write(folder.path().join("a.yaml"), octets).unwrap();
    let (status, printed) = postern(folder.path(), &["validate", "-f", "a.yaml"]);
    let line = printed.lines().next().unwrap_or_default();
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in {printed}");
    }
    assert_eq!(status, 1, "{printed}");
    assert!(printed.lines().count() <= 2, "{printed}");
}

#[test]
fn tabs() {
    let parts = [
        "a.yaml:2: not YAML: ",
        "tabs",
        "indent with spaces",
        "column",
    ];
    refused("spec:\n\thostname: x\n", &parts);
}

#[test]
fn octets_that_are_not_utf8() {
    refused(
        b"kind: x\nname: \xfcber\n",
        &["a.yaml:2: not UTF-8 (octet 0xfc): save"],
    );
    let utf16: Vec<u8> = gateway(2525)
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    refused(
        [b"\xff\xfe".as_slice(), &utf16].concat(),
        &["a.yaml:1: not UTF-8"],
    );
}

#[test]
fn aliases_that_multiply() {
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (before, this) in ('a'..='i').zip('b'..) {
        let aliases = vec![format!("*{before}"); 9].join(",");
        let _ = writeln!(bomb, "{this}: &{this} [{aliases}]");
    }
    refused(
        bomb,
        &[
            "a.yaml:",
            "an alias counts as all that it stands for",
            "part it",
        ],
    );
}

#[test]
fn too_deep_and_too_many() {
    let deep = format!("a: {}{}\n", "[".repeat(20_000), "]".repeat(20_000));
    refused(deep, &["a.yaml:1: not YAML: recursion limit exceeded"]);
    let mut many = gateway(2525);
    for port in 0..100_000 {
        let _ = writeln!(many, "  - {{name: l{port}, port: {port}, protocol: SMTP}}");
    }
    refused(many, &["a.yaml:", "part it into several files"]);
}

#[test]
fn ten_megabytes_of_yaml_are_read() {
    let folder = Folder::new("large");
    let mut text = gateway(2525) + "---\napiVersion: v1\nkind: ConfigMap\n";
    text += "metadata: {name: large, namespace: mail}\ndata:\n";
    for key in 0..100_000 {
        let _ = writeln!(text, "  key-{key}: \"{}\"", "x".repeat(90));
    }
    assert!(text.len() > 10 << 20);
    std::fs::write(folder.path().join("a.yaml"), text).unwrap();
    let (status, printed) = postern(folder.path(), &["validate", "-f", "a.yaml"]);
    assert_eq!((status, printed.lines().count()), (0, 1), "{printed}");
}

#[test]
fn text_that_is_no_object() {
    for text in ["", "# nothing\n", "---\n---\n"] {
        refused(text, &["postern: a.yaml: no object in it"]);
    }
    refused("just words\n", &["a.yaml:1: apiVersion is missing"]);
    refused("- 1\n", &["a.yaml:1: apiVersion is missing"]);
    refused("kind: MailGateway\n", &["a.yaml:1: apiVersion is missing"]);
}

#[test]
fn versions_and_kinds_that_do_not_exist() {
    let other = gateway(2525).replace("v1alpha1", "v1");
    let parts = [
        "a.yaml:1: apiVersion: ",
        "postern.dev/v1\" is not known: write postern.dev/v1alpha1",
    ];
    refused(other, &parts);
    let other = gateway(2525).replace("MailGateway", "MailGatway");
    refused(
        other,
        &["a.yaml:2: kind: ", "MailGateway, MailRoute or MailPolicy"],
    );
}

#[test]
fn the_same_object_in_two_files() {
    let folder = Folder::new("twice");
    for file in ["a.yaml", "b.yaml"] {
        std::fs::write(folder.path().join(file), gateway(2525)).unwrap();
    }
    let (status, printed) = postern(folder.path(), &["validate", "-f", "a.yaml", "b.yaml"]);
    assert_eq!(status, 1);
    let expected = "b.yaml:1: MailGateway mail/edge stands in the files twice: remove one of them \
                    (the first: a.yaml:1)";
    assert!(printed.contains(expected), "{printed}");
}

#[test]
fn a_list_of_kubectl_is_read_object_by_object() {
    let mut list = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
    for line in gateway(2525).replace("mx1.acme.test", "short").lines() {
        let start = if line.starts_with("apiVersion") {
            "- "
        } else {
            "  "
        };
        let _ = writeln!(list, "{start}{line}");
    }
    refused(
        &list,
        &["a.yaml:8: spec.hostname: hostname must be fully qualified"],
    );
    let folder = Folder::new("list");
    let good = list.replace("short", "mx1.acme.test");
    std::fs::write(folder.path().join("a.yaml"), good).unwrap();
    let (status, printed) = postern(folder.path(), &["validate", "-f", "a.yaml"]);
    assert_eq!(status, 0, "{printed}");
    assert!(printed.contains("1 MailGateway"), "{printed}");
}

#[test]
fn lines_that_end_in_crlf_are_lines() {
    let folder = Folder::new("crlf");
    let text = gateway(2525).replace('\n', "\r\n");
    std::fs::write(folder.path().join("a.yaml"), &text).unwrap();
    assert_eq!(postern(folder.path(), &["validate", "-f", "a.yaml"]).0, 0);
    let wrong = text.replace("port: 2525", "port: many");
    refused(wrong, &["a.yaml:7: spec.listeners[0].port: "]);
}

#[test]
fn paths_that_hold_nothing() {
    let folder = Folder::new("paths");
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    std::fs::write(folder.path().join("empty/README.md"), "x").unwrap();
    for command in ["validate", "run"] {
        let (status, printed) = postern(folder.path(), &[command, "-f", "empty"]);
        assert_eq!(status, 1, "{printed}");
        assert!(
            printed.starts_with("postern: empty: no *.yaml"),
            "{printed}"
        );
        let (status, printed) = postern(folder.path(), &[command, "-f", "gone.yaml"]);
        assert_eq!(status, 1, "{printed}");
        assert!(
            printed.starts_with("postern: gone.yaml: No such file"),
            "{printed}"
        );
        assert_eq!(printed.lines().count(), 1, "{printed}");
    }
}

/// Runs the gateway and wants one line about why it does not start, after that of its status.
fn does_not_start(text: &str, arguments: &[&str], parts: &[&str]) {
    let folder = Folder::new("start");
    std::fs::write(folder.path().join("a.yaml"), text).unwrap();
    let mut command = Command::new(tools::postern());
    command.args(["run", "-f", "a.yaml"]).args(arguments);
    let (status, printed) = finish(&mut command, folder.path());
    assert_eq!(status, 1, "{printed}");
    let last = printed.lines().last().unwrap_or_default();
    assert!(last.starts_with("postern: "), "{printed}");
    for part in parts {
        assert!(last.contains(part), "{part:?} is not in {printed}");
    }
    assert!(printed.lines().count() <= 2, "{printed}");
}

#[test]
fn ports_that_cannot_be_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let admin = format!("127.0.0.1:{}", free_port());
    let local = ["--bind", "127.0.0.1", "--admin", &admin];
    let parts = [
        "listener mx: ",
        "something listens there already",
        &port.to_string(),
    ];
    does_not_start(&gateway(port), &local, &parts);
    let admin_taken = [
        "--bind",
        "127.0.0.1",
        "--admin",
        &format!("127.0.0.1:{port}"),
    ];
    let parts = ["admin port 127.0.0.1", "something listens there already"];
    does_not_start(&gateway(free_port()), &admin_taken, &parts);
    let elsewhere = ["--bind", "192.0.2.77", "--admin", &admin];
    let parts = ["this machine has no address 192.0.2.77"];
    does_not_start(&gateway(free_port()), &elsewhere, &parts);
}

#[test]
fn an_output_that_takes_nothing_is_told() {
    let folder = Folder::new("full");
    std::fs::write(folder.path().join("a.yaml"), gateway(2525)).unwrap();
    let translate = ["translate", "-o", "snapshot", "-f", "a.yaml"].as_slice();
    for arguments in [["completions", "bash"].as_slice(), &["crds"], translate] {
        let mut command = Command::new(tools::postern());
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        command.args(arguments).stdout(full).stderr(Stdio::piped());
        let (status, printed) = finish(&mut command, folder.path());
        assert_eq!(status, 1, "{arguments:?}: {printed}");
        assert!(
            printed.starts_with("postern: standard output: No space left"),
            "{printed}"
        );
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    for arguments in [["completions", "zsh"].as_slice(), &["crds"]] {
        let mut child = Command::new(tools::postern())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 1];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && printed.is_empty(), "{printed}");
    }
}
