//! Sinks that are there already.

mod async_answers;
mod async_buffer;
mod async_counts;
mod async_requests;
mod async_sink;
mod async_sink_options;
mod collect;
mod csv_file;
mod for_each;
mod json_lines;
mod lines_writer;
mod part_file;
mod part_lock;
mod partition_folder;
mod partitioned_files;
mod records;
mod with_side;

pub use async_sink::{AsyncSink, Unwritten};
pub use async_sink_options::{AsyncSinkOptions, RecordTooLarge};
pub use collect::{Collect, Collected, collect};
pub use csv_file::CsvWriter;
pub use for_each::{ForEach, for_each};
pub use json_lines::JsonLines;
pub use lines_writer::LinesWriter;
pub use part_file::PreparedFile;
pub use partitioned_files::{PartitionedFiles, PreparedFolder};
pub use with_side::{PreparedBoth, WithSide};
