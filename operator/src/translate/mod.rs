//! Translate: from everything that was observed to everything that shall be.
//!
//! In goes a [`World`]; out comes a [`Translation`]: snapshots, manifests, statuses, what must be
//! generated and when to look again. Pure: no I/O, no clock, no client, no async; ordered maps;
//! all is computed anew each time, and compared afterwards by those who write it.

mod backends;
mod certificates;
mod claims;
mod gateway;
mod grants;
mod input;
mod listeners;
mod manifests;
mod policies;
mod reports;
mod routes;
mod snapshot;
mod status;

use crate::translation::{GatewayOutput, Translation};
use crate::world::World;
use backends::Places;
use gateway::Gateway;
use input::Input;
use policies::Policies;
use reports::Gateways;
use routes::Attachments;
use snapshot::Rules;
use std::collections::BTreeMap;

/// What follows from a world.
#[must_use]
pub fn translate(world: &World) -> Translation {
    let input = Input::read(world);
    let policies = Policies::attach(&input);
    let rules = compile_rules(&input);
    let gateways = attach_routes(&input);
    let outputs = gateways.iter().map(|(key, (gateway, attachments))| {
        let snapshot = snapshot::compile(&input, gateway, attachments, &policies, &rules);
        let output = GatewayOutput {
            manifests: manifests::render(world, gateway).map(Box::new),
            generate: gateway.pairs.generate.clone(),
            generated: gateway.pairs.generated.iter().cloned().collect(),
            snapshot,
        };
        (key.clone(), output)
    });
    let gateway_statuses = gateways
        .iter()
        .map(|(key, (gateway, attachments))| (key.clone(), gateway.status(attachments)));
    Translation {
        gateways: outputs.collect(),
        gateway_statuses: gateway_statuses.collect(),
        route_statuses: reports::routes(&input, &gateways, &rules),
        policy_statuses: reports::policies(&input, &gateways, &policies),
        recheck_at: gateways
            .values()
            .filter_map(|(gateway, _)| gateway.pairs.changes)
            .min(),
    }
}

/// The rules of all valid routes, by the routes' index.
fn compile_rules(input: &Input<'_>) -> BTreeMap<usize, Rules> {
    let places = Places::new(input.world);
    let routes = input.routes.iter().enumerate();
    let rules = routes.filter_map(|(index, route)| {
        let spec = &route.object.as_ref().ok()?.spec;
        Some((index, Rules::compile(&places, &route.key.namespace, spec)))
    });
    rules.collect()
}

/// Our gateways, judged, with the routes that name them.
fn attach_routes<'w>(input: &Input<'w>) -> Gateways<'w> {
    let gateways = input.gateways.iter().map(|judged| {
        let gateway = Gateway::judge(input, judged);
        let attachments = Attachments::find(input, &gateway);
        (judged.key.clone(), (gateway, attachments))
    });
    gateways.collect()
}
