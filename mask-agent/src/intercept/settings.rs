//! What the programs are told: the proxy's port, and whose connections to where are redirected.

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapError},
};
use mask_common::Config;

use super::InterceptError;

/// The contents of the maps that the daemon writes.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) ports: Vec<u32>,
}

impl Settings {
    /// What the maps hold now: all zero where they are new.
    pub(super) fn read(programs: &mut Ebpf) -> Result<Self, InterceptError> {
        let config: Array<_, Config> = map(programs, "CONFIG")?;
        let config = config.get(&0, 0).map_err(failed("CONFIG"))?;
        let ports: HashMap<_, u32, u8> = map(programs, "PORTS")?;
        let ports = ports.keys().collect::<Result<_, _>>().map_err(failed("PORTS"))?;
        Ok(Self { config, ports })
    }

    /// Writes the maps: what is new comes before what is old goes, so that no target is open in between.
    pub(super) fn write(&self, programs: &mut Ebpf) -> Result<(), InterceptError> {
        let mut ports: HashMap<_, u32, u8> = map(programs, "PORTS")?;
        for port in &self.ports {
            ports.insert(port, 1, 0).map_err(failed("PORTS"))?;
        }
        let held: Vec<u32> = ports.keys().collect::<Result<_, _>>().map_err(failed("PORTS"))?;
        for port in held.iter().filter(|port| !self.ports.contains(port)) {
            ports.remove(port).map_err(failed("PORTS"))?;
        }
        let mut config: Array<_, Config> = map(programs, "CONFIG")?;
        config.set(0, self.config, 0).map_err(failed("CONFIG"))
    }
}

fn failed(map: &'static str) -> impl Fn(MapError) -> InterceptError {
    move |error| InterceptError::Map { map, source: error.into() }
}

fn map<'a, T>(programs: &'a mut Ebpf, name: &'static str) -> Result<T, InterceptError>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = programs.map_mut(name);
    let map = map.ok_or_else(|| InterceptError::Map { map: name, source: "not in the object".into() })?;
    T::try_from(map).map_err(failed(name))
}
