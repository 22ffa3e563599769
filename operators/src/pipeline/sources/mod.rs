//! Sources that are there already.

mod csv_file;
mod folder;
mod folder_files;
mod generate;
mod iterate;
mod lines;
mod listen;
mod reader;

pub use csv_file::{CsvFile, CsvPosition};
pub use folder::{Folder, FolderPosition};
pub use generate::{Generate, generate};
pub use iterate::{Iterate, iterate};
pub use lines::{Lines, LinesPosition};
pub use listen::{Listen, listen};
pub use reader::{Read, ReadAhead, Reader};
