//! Tracks repeated failures of a retrying loop: logged when they begin and end, counted in between.

/// Distinguishes the first of consecutive failures from the others, so that a retrying loop does not fill the log.
///
/// ```
/// # use tombolo_telemetry::Outage;
/// let mut outage = Outage::default();
/// assert_eq!(outage.ended(), None);
/// assert!(outage.begins());
/// assert!(!outage.begins());
/// assert_eq!(outage.ended(), Some(2));
/// assert!(outage.begins());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Outage {
    failures: u64,
}

impl Outage {
    /// Records a failure; returns `true` for the first since the last success, which is the one to log.
    pub fn begins(&mut self) -> bool {
        self.failures += 1;
        self.failures == 1
    }

    /// Records a success; returns the number of failures before it if there were any, to log the end of the outage.
    pub fn ended(&mut self) -> Option<u64> {
        let failures = std::mem::take(&mut self.failures);
        (failures > 0).then_some(failures)
    }
}
