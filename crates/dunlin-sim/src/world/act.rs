//! Carries out the actions of the plan.

use super::{About, DeviceId, Event, Happening, World, note};
use crate::pipe::Part;
use crate::plan::{Action, Planned, PublishPlan, SubscribePlan};
use bytes::Bytes;
use core::time::Duration;
use dunlin_broker::core::Durability;
use dunlin_codec::{
    Disconnect, MessageProperties, ReasonCode, SubscribeProperties, Subscription,
    SubscriptionIdentifier, SubscriptionOptions, Text,
};
use dunlin_protocol::{Message, Session};
use std::sync::Arc;

/// Numbers of messages of one action.
const NUMBERS_PER_ACTION: u64 = 1_000;
/// Messages that wait at a device before it gives new ones up.
const OUTBOX_LEN_MAX: usize = 2_000;

impl World {
    pub(super) fn act(&mut self, at: usize) {
        let Planned { number, device, action, .. } = self.plan[at].clone();
        note!(self, About::Device(device), "#{number} {action:?}");
        match action {
            Action::Connect(plan) => {
                if self.devices[device as usize].is_malformed {
                    self.open_malformed(device);
                } else {
                    self.connect(device, &plan);
                }
            }
            Action::Publish(plan) => self.publish(device, number, &plan, 1),
            Action::Burst(plan, count) => self.publish(device, number, &plan, count),
            Action::Subscribe(plan) => self.subscribe(device, &plan),
            Action::Unsubscribe(filters) => {
                let filters: Vec<_> =
                    filters.iter().filter_map(|filter| filter.parse().ok()).collect();
                self.with_live(device, |world, live| {
                    let properties = Default::default();
                    // One that isn't connected has nothing to unsubscribe from.
                    let _ =
                        live.connection.unsubscribe(world.now, properties, filters, &mut live.out);
                    world.flush(live);
                });
            }
            Action::Disconnect { reason_code, session_expiry_interval } => {
                self.disconnect(device, reason_code, session_expiry_interval);
            }
            Action::Cut => self.on_wire(device, Self::cut),
            Action::CutAfter { up, bytes } => self.on_wire(device, |world, wire| {
                let wire = &mut world.wires[wire as usize];
                let pipe = if up { &mut wire.up } else { &mut wire.down };
                pipe.cut_after = Some(bytes);
            }),
            Action::HalfOpen => self.on_wire(device, |world, wire| {
                world.wires[wire as usize].up.vanish();
                world.wires[wire as usize].down.vanish();
                world.abandon(device);
            }),
            Action::SilentDrop => self.on_wire(device, |world, wire| {
                world.wires[wire as usize].up.vanish();
                world.wires[wire as usize].down.vanish();
            }),
            Action::Partition { devices, micros } => self.partition(device, devices, micros),
            Action::Throttle { bytes_per_second, micros } => {
                let until = self.now + Duration::from_micros(micros);
                self.on_wire(device, |world, wire| {
                    let wire = &mut world.wires[wire as usize];
                    wire.up.throttle(bytes_per_second, until);
                    wire.down.throttle(bytes_per_second, until);
                });
            }
            Action::StopReading { micros } => {
                let until = self.now + Duration::from_micros(micros);
                self.on_wire(device, |world, wire| {
                    world.wires[wire as usize].client.stuck_until = until;
                });
            }
            Action::Reset => self.reset(device),
            Action::Raw(bytes) => self.send_raw(device, &bytes),
            Action::StallStore { micros } => self.stall_store(micros),
            // At `memory` nobody waits for the store, and it may lose nothing but by a crash.
            Action::FailStore if self.options.durability == Durability::Memory => {}
            Action::FailStore => self.fail_store(),
            Action::Crash { micros } => self.crash(micros),
            Action::Stop { micros } => self.stop(micros),
            Action::Reauthenticate => self.reauthenticate(device),
            Action::Rules(text) => self.change_rules(&text),
        }
    }

    /// Does something with the Network Connection of a device, if it has one.
    fn on_wire(&mut self, device: u32, act: impl FnOnce(&mut Self, u32)) {
        if let Some(live) = &self.devices[device as usize].live {
            let wire = live.wire;
            act(self, wire);
        }
    }

    fn publish(&mut self, device: u32, action: u64, plan: &PublishPlan, count: u64) {
        let now = self.now;
        let owner = &mut self.devices[device as usize];
        for part in 0..count {
            let Ok(topic_name) = plan.topic_name.parse() else { return };
            let number = 1 + action * NUMBERS_PER_ACTION + part;
            let payload = if plan.len == 0 { Bytes::new() } else { payload(number, plan.len) };
            let mut message = Message::new(topic_name, payload);
            message.qos = plan.qos;
            message.retain = plan.retain;
            if owner.version.is_v5() {
                if let Some(secs) = plan.expiry_secs {
                    message.expire_after(now, secs);
                }
                if plan.properties {
                    message.properties = Some(Arc::new(MessageProperties {
                        payload_format_indicator: Some(true),
                        content_type: Some(Text::from_static("text/plain")),
                        response_topic: None,
                        correlation_data: Some(Bytes::from_static(b"correlation")),
                        user_properties: vec![(Text::from_static("k"), Text::from_static("v"))],
                    }));
                }
            }
            if owner.outbox.len() < OUTBOX_LEN_MAX {
                owner.outbox.push_back(Arc::new(message));
            }
        }
        self.with_live(device, |world, live| {
            world.publish_waiting(live);
            world.flush(live);
        });
    }

    fn subscribe(&mut self, device: u32, plan: &SubscribePlan) {
        let subscriptions = plan.filters.iter().filter_map(|filter| {
            Some(Subscription {
                topic_filter: filter.topic_filter.parse().ok()?,
                options: SubscriptionOptions {
                    maximum_qos: filter.qos,
                    no_local: filter.no_local,
                    retain_as_published: filter.retain_as_published,
                    retain_handling: filter.retain_handling,
                },
            })
        });
        let subscriptions: Vec<Subscription> = subscriptions.collect();
        let identifier = plan.identifier.and_then(SubscriptionIdentifier::new);
        self.with_live(device, |world, live| {
            let takes = live.connection.subscription_identifiers_available();
            let properties = SubscribeProperties {
                subscription_identifier: identifier.filter(|_| takes),
                ..SubscribeProperties::default()
            };
            // One that isn't connected subscribes another time.
            let _ = live.connection.subscribe(world.now, properties, subscriptions, &mut live.out);
            world.flush(live);
        });
    }

    fn disconnect(&mut self, device: u32, reason_code: ReasonCode, expiry: Option<u32>) {
        let owner = &self.devices[device as usize];
        let expiry = expiry.filter(|_| owner.version.is_v5() && !owner.is_twin);
        self.with_live(device, |world, live| {
            let mut disconnect = Disconnect::new(reason_code);
            disconnect.properties.session_expiry_interval = expiry;
            let out = &mut live.out;
            if live.connection.disconnect(world.now, &disconnect, out).is_err() {
                disconnect.properties.session_expiry_interval = None;
                let _ = live.connection.disconnect(world.now, &disconnect, out);
            }
        });
    }

    fn partition(&mut self, first: u32, devices: u32, micros: u64) {
        let until = self.now + Duration::from_micros(micros);
        let count = self.devices.len() as u32;
        for device in (first..first + devices.min(count)).map(|device| device % count) {
            self.devices[device as usize].partitioned_until = until;
            self.on_wire(device, |world, wire| {
                let wire = &mut world.wires[wire as usize];
                wire.up.blocked_until = wire.up.blocked_until.max(until);
                wire.down.blocked_until = wire.down.blocked_until.max(until);
            });
        }
    }

    /// The device loses its Session, and begins anew.
    fn reset(&mut self, device: u32) {
        let owner = &self.devices[device as usize];
        if owner.always_clean.is_some() || owner.is_malformed {
            return;
        }
        let plan = owner.last_plan.clone();
        self.abandon(device);
        let owner = &mut self.devices[device as usize];
        owner.session = Session::new();
        owner.under_way.clear();
        owner.outbox.clear();
        owner.must_start_clean = true;
        self.tell(Event::SessionForgotten { device: DeviceId(device) });
        self.connect(device, &plan);
    }

    // ---- peers that break the protocol

    fn open_malformed(&mut self, device: u32) {
        let owner = &mut self.devices[device as usize];
        owner.attempts += 1;
        let number = u64::from(device) << 24 | u64::from(owner.attempts);
        let wire = self.open_wire(device, number);
        self.wires[wire as usize].client.is_gone = true;
    }

    fn send_raw(&mut self, device: u32, bytes: &[u8]) {
        let wire = self.wires.iter().rposition(|wire| wire.device == device && !wire.up.ended);
        let wire = match wire {
            Some(wire) if !self.wires[wire].up.broken => wire as u32,
            _ => {
                self.open_malformed(device);
                self.wires.len() as u32 - 1
            }
        };
        let up = &mut self.wires[wire as usize].up;
        if up.write(self.now, bytes).is_err() {
            up.end(self.now, Part::Reset);
        }
        self.announce_up(wire);
    }

    pub(super) fn fail_store(&mut self) {
        if self.is_up && !self.store.has_failed {
            self.store.has_failed = true;
            self.tell(Event::StoreFailed);
            self.tell_store_is_ready(false);
            self.plan_mend();
        }
    }

    /// Lets a connection be read again.
    pub(super) fn unstick(&mut self, wire: u32) {
        self.wires[wire as usize].client.stuck_until = self.now;
        self.schedule.put(self.now, Happening::ArriveDown(wire));
    }
}

/// A payload of at least this length that begins with the number.
fn payload(number: u64, len: usize) -> Bytes {
    let mut payload = format!("{number} ").into_bytes();
    payload.resize(payload.len().max(len), b'.');
    Bytes::from(payload)
}
