//! A snapshot that does not fit its objects: status says so and what to do, and what was written
//! before stays.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use postern_operator::apply::read;
use postern_operator::world::ObjectKey;
use postern_tests::wait::eventually;
use serde_json::json;

use crate::installation::{Installation, SOON, control_plane};
use crate::objects::{EDGE, apply_tls_secret};
use crate::scripted::{ScriptedPod, next_snapshot, runs};

/// Secrets of `LARGE` octets, which hold six bits each: together more than four chunks of 900 kB.
const SECRETS: usize = 6;
const LARGE: usize = 900_000;

/// Text that no compressor shortens beyond its alphabet, the same at every run.
fn noise(seed: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Marsaglia's xorshift64.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(ALPHABET[(state >> 58) as usize])
    };
    (0..LARGE).map(|_| next()).collect()
}

/// A pair whose file has a very long comment.
async fn create_large_pair(installation: &Installation<'_>, number: usize) {
    let pair = rcgen::generate_simple_self_signed([format!("mx{number}.acme.test")]).unwrap();
    let chain = format!("{}{}\n", pair.cert.pem(), noise(number));
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": format!("large-{number}")},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": chain, "tls.key": pair.signing_key.serialize_pem()},
    }))
    .unwrap();
    let api: Api<Secret> = Api::namespaced(installation.client.clone(), &installation.namespace);
    api.create(&PostParams::default(), &secret).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_does_not_fit_is_told_and_the_one_before_stays() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "large").await;
    apply_tls_secret(cluster, &installation.namespace, "mx1-tls").await;
    installation.apply(EDGE).await;
    let _operator = installation.operator("operator-1").await;
    let live = next_snapshot(&installation, None).await;
    let hash = live.hash().unwrap().to_owned();
    let _pod = ScriptedPod::ready(&installation, "edge-0", "127.0.0.13", runs(&hash)).await;
    installation
        .gateway_says(SOON, ["Programmed", "True", "Programmed"])
        .await;

    for number in 0..SECRETS {
        create_large_pair(&installation, number).await;
    }
    let names: Vec<String> = (0..SECRETS)
        .map(|n| format!("{{name: large-{n}}}"))
        .collect();
    let many = format!("{{name: mx1-tls}}, {}", names.join(", "));
    installation
        .apply(&EDGE.replace("{name: mx1-tls}", &many))
        .await;
    let message = installation
        .gateway_says(SOON, ["Programmed", "False", "TooLarge"])
        .await;
    assert!(message.starts_with("the keys part is "), "{message}");
    assert!(
        message.contains("at most 3600000 fit: split the gateway"),
        "{message}"
    );
    let whose = format!("; most of it is namespace {} (", installation.namespace);
    assert!(message.contains(&whose), "{message}");
    let meanwhile = format!("; 1/1 pods run {} meanwhile", &hash[..8]);
    assert!(message.ends_with(&meanwhile), "{message}");
    // Nothing of it is written, and routes are still programmed.
    let key = ObjectKey::new(&*installation.namespace, "edge");
    let now = read(&installation.client, &key).await.unwrap().unwrap();
    assert_eq!(now.head_version, live.head_version);
    assert_eq!(now.versions, live.versions);
    installation
        .route_says(SOON, ["Programmed", "True", "Programmed"])
        .await;

    // As soon as it fits again, it is written: nobody waits for a pause between attempts.
    installation
        .apply(&EDGE.replace("mx1.acme.test", "mx2.acme.test"))
        .await;
    let next = next_snapshot(&installation, Some(&hash)).await;
    assert_eq!(next.snapshot().unwrap().config.hostname, "mx2.acme.test");
    eventually(SOON, async || {
        let gateway = installation
            .gateways()
            .get("edge")
            .await
            .map_err(|e| e.to_string())?;
        let conditions = gateway.status.unwrap_or_default().conditions;
        let large = conditions.iter().any(|c| c.reason == "TooLarge");
        (!large).then_some(()).ok_or(format!("{conditions:?}"))
    })
    .await;
}
