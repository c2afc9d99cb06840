//! Where a step's time goes: an event after every launch, read when all is done.

use std::sync::Mutex;

use cudarc::driver::{CudaEvent, sys};

use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// Events by what was launched before them.
#[derive(Default)]
pub(super) struct Timeline {
    events: Mutex<Vec<(&'static str, CudaEvent)>>,
}

impl Timeline {
    /// Marks the end of a launch.
    pub(super) fn mark(&self, device: &Device, name: &'static str) -> Result<(), CudaError> {
        let event = device.stream().record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT))?;
        self.events.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((name, event));
        Ok(())
    }

    /// Milliseconds and launches by name, the most first; nothing is marked afterwards.
    pub(super) fn read(self) -> Result<Vec<(&'static str, f64, usize)>, CudaError> {
        let events = self.events.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut sums: Vec<(&'static str, f64, usize)> = Vec::new();
        for pair in events.windows(2) {
            let [(_, before), (name, after)] = pair else { continue };
            let time = f64::from(before.elapsed_ms(after)?);
            match sums.iter_mut().find(|(known, ..)| known == name) {
                Some((_, sum, count)) => {
                    *sum += time;
                    *count += 1;
                }
                None => sums.push((name, time, 1)),
            }
        }
        sums.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(sums)
    }
}
