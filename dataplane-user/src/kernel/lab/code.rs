//! The programs' code, counted: what a compiler, or whoever has changed the source, has added to it shows here, on any machine
//! and without a packet.

use std::collections::HashSet;

use aya::programs::{ProgramInfo, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_obj::generated::{BPF_CALL, BPF_JMP};

use crate::kernel::KernelError;
use crate::kernel::load;

/// The gateway's programs with one hash lookup more a packet.
static PLANTED: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/voxlane-ebpf-planted"));

/// `bpf_map_lookup_elem`, by its number among the helpers.
const LOOK_UP: i32 = 1;

/// A call, of a helper or of a function of the program's own; and the second half of an instruction of 16 bytes.
const CALL: u8 = (BPF_JMP | BPF_CALL) as u8;
const SECOND_HALF: u8 = 0;

/// Whose programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Built {
    /// The gateway's.
    Gateway,
    /// The same with one hash lookup more a packet, which a count must show.
    Planted,
}

impl Built {
    fn object(self) -> &'static [u8] {
        match self {
            Self::Gateway => load::OBJECT,
            Self::Planted => PLANTED,
        }
    }
}

/// What a program consists of, with the functions it calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// Instructions. One of 16 bytes is one.
    pub instructions: u32,
    /// Places where a helper of the kernel is called.
    pub helpers: u32,
    /// Those of them that look something up in a map.
    pub look_ups: u32,
}

/// A program as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Instructions, after the verifier has put some in line and left others out; as the kernel counts, one of 16 bytes is two.
    pub instructions: u32,
    /// Instructions that the verifier went through on all ways; from Linux 5.16 on.
    pub verified: Option<u32>,
}

/// Counts a program's code.
///
/// # Errors
/// If there is no such program.
pub fn of(built: Built, program: &str) -> Result<Code, KernelError> {
    let damaged = |error: &dyn std::fmt::Display| KernelError::Object(error.to_string());
    let mut object = aya_obj::Object::parse(built.object()).map_err(|error| damaged(&error))?;
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    // Behind each program's own code comes that of the functions it calls.
    object.relocate_calls(&sections).map_err(|error| damaged(&error))?;
    let function = object.programs.get(program);
    let function = function.and_then(|program| object.functions.get(&program.function_key()));
    let function = function.ok_or_else(|| KernelError::Object(format!("it has no program {program}")))?;
    let mut code = Code::default();
    for instruction in &function.instructions {
        code.instructions += u32::from(instruction.code != SECOND_HALF);
        // Any other source names a function instead.
        if instruction.code == CALL && instruction.src_reg() == 0 {
            code.helpers += 1;
            code.look_ups += u32::from(instruction.imm == LOOK_UP);
        }
    }
    Ok(code)
}

/// Lets the kernel have the programs for a moment, and asks what it has made of one. Needs root.
///
/// # Errors
/// If the kernel refuses it, or does not tell.
pub fn kept(built: Built, program: &str) -> Result<Kept, KernelError> {
    let mut ebpf = EbpfLoader::new().load(built.object())?;
    let info = loaded(&mut ebpf, program)?;
    let bytes = info
        .size_translated()
        .ok_or_else(|| KernelError::Object(format!("the kernel does not tell how long {program} is")))?;
    Ok(Kept {
        instructions: bytes / size_of::<u64>() as u32,
        verified: info.verified_instruction_count(),
    })
}

fn loaded(ebpf: &mut Ebpf, name: &str) -> Result<ProgramInfo, KernelError> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| KernelError::Object(format!("it has no program {name}")))?;
    if let Ok(program) = <&mut Xdp>::try_from(&mut *program) {
        program.load()?;
        return Ok(program.info()?);
    }
    let program: &mut SchedClassifier = program.try_into()?;
    program.load()?;
    Ok(program.info()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lookup_more_is_one_call_more() {
        let (gateway, planted) = (
            of(Built::Gateway, "relay").unwrap(),
            of(Built::Planted, "relay").unwrap(),
        );
        assert!(
            gateway.look_ups > 1 && gateway.helpers > gateway.look_ups,
            "{gateway:?}"
        );
        assert_eq!(planted.look_ups, gateway.look_ups + 1);
        assert_eq!(planted.helpers, gateway.helpers + 1);
        assert!(planted.instructions > gateway.instructions, "{planted:?} {gateway:?}");
        assert_eq!(of(Built::Gateway, "pace").unwrap(), of(Built::Planted, "pace").unwrap());
    }
}
