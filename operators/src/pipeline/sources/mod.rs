//! Sources that are there already.

mod csv_file;
mod folder;
mod folder_files;
#[cfg(unix)]
mod follower;
mod generate;
mod iterate;
mod line_buffer;
mod lines;
mod listen;
mod reader;
#[cfg(unix)]
mod rotated;
#[cfg(unix)]
mod tail;
mod tcp_lines;

pub use csv_file::{CsvFile, CsvPosition};
pub use folder::{Folder, FolderPosition};
#[cfg(unix)]
pub use follower::TailPosition;
pub use generate::{Generate, generate};
pub use iterate::{Iterate, iterate};
pub use lines::{Lines, LinesPosition};
pub use listen::{Listen, listen};
pub use reader::{Read, ReadAhead, Reader};
#[cfg(unix)]
pub use tail::Tail;
pub use tcp_lines::TcpLines;
