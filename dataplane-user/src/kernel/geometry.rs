//! The maps that outlive the process, and whether those that are pinned are what the programs expect: the loader takes
//! whatever it finds under a name.

use std::mem::size_of;

use aya::maps::{MapInfo, MapType};
use voxlane_common::duration::BUCKETS;
use voxlane_common::flow::{Flow, FlowState};
use voxlane_common::next_hop::{MAX_NEXT_HOPS, NextHop};
use voxlane_common::outcome::{Frames, LOSSES};
use voxlane_common::ports::PortMap;

use super::pins::Pins;

/// A map of the object.
struct Shape {
    name: &'static str,
    kind: MapType,
    value_size: usize,
    entries: u32,
}

/// The maps that are pinned, for a range of ports. The others are the programs' own, and live as long as they.
fn shapes(ports: &PortMap) -> [Shape; 7] {
    let shape = |name, kind, value_size, entries| Shape {
        name,
        kind,
        value_size,
        entries,
    };
    let array = |name, value_size, entries| shape(name, MapType::Array, value_size, entries);
    let counters = |name, entries| shape(name, MapType::PerCpuArray, size_of::<u64>(), entries);
    [
        array("PORT_MAP", size_of::<PortMap>(), 1),
        array("FLOWS", size_of::<Flow>(), ports.entries()),
        array("STATES", size_of::<FlowState>(), ports.entries()),
        array("NEXT_HOPS", size_of::<NextHop>(), MAX_NEXT_HOPS),
        shape("FRAMES", MapType::PerCpuArray, size_of::<Frames>(), 1),
        counters("DURATIONS", BUCKETS),
        counters("LOST", LOSSES),
    ]
}

/// Names of the maps that are pinned.
pub(super) fn pinned(ports: &PortMap) -> [&'static str; 7] {
    shapes(ports).map(|shape| shape.name)
}

/// What is pinned of the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Present {
    /// Each, as it should be.
    All,
    /// None.
    None,
    /// Some, or something else: a process died while it made them, or whoever changed a type forgot `LAYOUT`.
    Damaged,
}

/// Looks at what is pinned.
pub(super) fn present(pins: &Pins, ports: &PortMap) -> Present {
    let shapes = shapes(ports);
    let is_there = |shape: &Shape| pins.map(shape.name).exists();
    if !shapes.iter().any(is_there) {
        Present::None
    } else if shapes.iter().all(|shape| is_right(pins, shape)) {
        Present::All
    } else {
        Present::Damaged
    }
}

fn is_right(pins: &Pins, shape: &Shape) -> bool {
    MapInfo::from_pin(pins.map(shape.name)).is_ok_and(|found| {
        found.map_type().is_ok_and(|kind| kind == shape.kind)
            && found.key_size() as usize == size_of::<u32>()
            && found.value_size() as usize == shape.value_size
            && found.max_entries() == shape.entries
    })
}
