//! What a pass writes: everything the first time, nothing the second.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{Api, Resource};
use postern_tests::wait::eventually;

use crate::installation::{Installation, SOON, control_plane, names};
use crate::objects::{EDGE, SELF_SIGNED, apply_tls_secret};

async fn owned<K>(installation: &Installation<'_>) -> Vec<String>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(installation.client.clone(), &installation.namespace);
    let list = api
        .list(&kube::api::ListParams::default().labels("postern.dev/gateway=edge"))
        .await;
    let items = list.unwrap().items.into_iter();
    items
        .map(|object| {
            let meta = object.meta().clone();
            let owner = &meta.owner_references.as_ref().unwrap()[0];
            assert_eq!((&*owner.kind, &*owner.name), ("MailGateway", "edge"));
            meta.name.unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_pass_writes_everything_and_the_second_nothing() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "writes").await;
    apply_tls_secret(cluster, &installation.namespace, "mx1-tls").await;
    installation.apply(EDGE).await;

    let operator = installation.operator("operator-1").await;
    let message = installation
        .gateway_says(SOON, ["Programmed", "False", "NoReadyPods"])
        .await;
    assert!(message.starts_with("0/0 pods run "), "{message}");
    installation
        .gateway_says(SOON, ["Accepted", "True", "Accepted"])
        .await;
    installation
        .route_says(SOON, ["ResolvedRefs", "True", "ResolvedRefs"])
        .await;

    assert_eq!(owned::<Deployment>(&installation).await, ["postern-edge"]);
    assert_eq!(owned::<Service>(&installation).await, ["postern-edge"]);
    assert_eq!(
        owned::<ServiceAccount>(&installation).await,
        ["postern-edge"]
    );
    assert_eq!(owned::<Role>(&installation).await, ["postern-edge"]);
    assert_eq!(owned::<RoleBinding>(&installation).await, ["postern-edge"]);
    assert_eq!(
        owned::<NetworkPolicy>(&installation).await,
        ["postern-edge"]
    );
    assert_eq!(
        owned::<PodDisruptionBudget>(&installation).await,
        ["postern-edge"]
    );
    let config_maps = owned::<ConfigMap>(&installation).await;
    for chunk in ["config-a-0", "config-a-3", "head"] {
        assert!(
            config_maps.contains(&format!("postern-edge-{chunk}")),
            "{config_maps:?}"
        );
    }
    assert!(
        owned::<Secret>(&installation)
            .await
            .contains(&"postern-edge-keys-a-0".to_owned())
    );

    // A pass over the same world, by the same process and by a new one.
    operator.settled().await;
    let (mark, passes) = (cluster.mark().await, operator.passes().await);
    installation
        .kubectl(&format!(
            "-n {} annotate mailroute acme touched=1",
            installation.namespace
        ))
        .await;
    operator.passes_again(passes).await;
    operator.settled().await;
    assert_eq!(installation.writes_since(mark).await, []);

    drop(operator);
    let operator = installation.operator("operator-2").await;
    operator.settled().await;
    assert_eq!(installation.writes_since(mark).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_change_or_delete_is_put_right() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "drift").await;
    apply_tls_secret(cluster, &installation.namespace, "mx1-tls").await;
    installation.apply(EDGE).await;
    let operator = installation.operator("operator-1").await;
    installation
        .gateway_says(SOON, ["Programmed", "False", "NoReadyPods"])
        .await;
    operator.settled().await;

    let namespace = installation.namespace.clone();
    let deployments: Api<Deployment> = Api::namespaced(installation.client.clone(), &namespace);
    installation
        .kubectl(&format!(
            "-n {namespace} scale deployment postern-edge --replicas=7"
        ))
        .await;
    eventually(SOON, async || {
        let replicas = deployments
            .get("postern-edge")
            .await
            .unwrap()
            .spec
            .unwrap()
            .replicas;
        (replicas == Some(2))
            .then_some(())
            .ok_or(format!("{replicas:?} replicas"))
    })
    .await;

    // A chunk of the current set: nobody could boot from it.
    installation
        .kubectl(&format!(
            "-n {namespace} delete secret postern-edge-keys-a-0"
        ))
        .await;
    let secrets: Api<Secret> = Api::namespaced(installation.client.clone(), &namespace);
    eventually(SOON, || secrets.get("postern-edge-keys-a-0")).await;

    installation
        .kubectl(&format!("-n {namespace} delete service postern-edge"))
        .await;
    let services: Api<Service> = Api::namespaced(installation.client.clone(), &namespace);
    eventually(SOON, || services.get("postern-edge")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_pair_is_generated_once_and_swept_with_its_need() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "generated").await;
    installation.apply(SELF_SIGNED).await;
    let operator = installation.operator("operator-1").await;
    installation
        .gateway_says(SOON, ["ResolvedRefs", "True", "ResolvedRefs"])
        .await;
    installation
        .gateway_says(SOON, ["Programmed", "False", "NoReadyPods"])
        .await;
    operator.settled().await;

    let secrets: Api<Secret> =
        Api::namespaced(installation.client.clone(), &installation.namespace);
    let generated = async || {
        let all = names(&secrets).await;
        all.into_iter()
            .filter(|name| name.starts_with("postern-edge-tls-"))
            .collect::<Vec<_>>()
    };
    let first = generated().await;
    assert_eq!(first.len(), 1, "{first:?}");
    let uid = secrets.get(&first[0]).await.unwrap().metadata.uid;

    drop(operator);
    let operator = installation.operator("operator-2").await;
    operator.settled().await;
    assert_eq!(secrets.get(&first[0]).await.unwrap().metadata.uid, uid);

    // Another host name needs another pair; the first is of no use any more.
    installation.apply(&SELF_SIGNED.replace("mx1", "mx2")).await;
    eventually(SOON, async || {
        let now = generated().await;
        (now.len() == 1 && now != first)
            .then_some(())
            .ok_or(format!("{now:?}"))
    })
    .await;
}
