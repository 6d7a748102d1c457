//! Names what ended a guest: the one place where engine errors become faults.

use fermion_model::fault::{Failure, Fault};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::FieldMapError;

use crate::meter::Meter;

/// The epoch callback ends a guest with this when its CPU time is used up.
#[derive(Debug, thiserror::Error)]
#[error("guest CPU time used up")]
pub(crate) struct CpuLimit;

/// What an engine error means for the request that met it.
pub(crate) fn classify(error: &wasmtime::Error, meter: &Meter) -> Failure {
    Failure::new(fault(error, meter), format!("{error:#}"))
}

fn fault(error: &wasmtime::Error, meter: &Meter) -> Fault {
    if error.is::<CpuLimit>() {
        return Fault::GuestCpuLimit;
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::Overloaded;
    }
    if error.is::<ResourceTableError>() {
        return Fault::GuestResourceLimit;
    }
    // A header map that grew past its limit; guests make them for their answers above all.
    if error.is::<FieldMapError>() {
        return Fault::GuestResponseInvalid;
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return if exit.0 == 0 {
            Fault::GuestNoResponse
        } else {
            Fault::GuestTrap
        };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => Fault::GuestStackLimit,
        Some(Trap::Interrupt) => Fault::GuestCpuLimit,
        Some(Trap::AsyncDeadlock | Trap::NoAsyncResult) => Fault::GuestNoResponse,
        Some(Trap::AllocationTooLarge) => Fault::GuestMemoryLimit,
        // An allocator that is refused memory ends in a trap of its own.
        Some(_) if meter.growth_refused() => Fault::GuestMemoryLimit,
        Some(_) => Fault::GuestTrap,
        // The engine has no type for these two, only words.
        None if mentions_host_limit(error) => Fault::GuestResourceLimit,
        None if meter.growth_refused() => Fault::GuestMemoryLimit,
        None => Fault::GuestTrap,
    }
}

fn mentions_host_limit(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        let text = cause.to_string();
        text.contains("fuel allocated for hostcalls") || text.contains("handle limit exceeded")
    })
}
