#include "output/run_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <list>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "output/output_file.h"
#include "output/run_lines.h"

namespace demask {
namespace {

// False where another process holds the lock. Some file systems have no locks (ENOLCK, EOPNOTSUPP, ENOSYS): there the
// user has to see to it that no two runs write one file.
bool try_lock(const Descriptor& file, int mode) {
  return ::flock(file.get(), mode | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

[[noreturn]] void fail_locked(const std::string& path) {
  fail(ExitCode::failed,
       "the output '{}' is being written by another demask run: wait for that to end, or name another --output", path);
}

// Symbolic links followed, so that a run that is resumed under its file's other name finds the same side file.
std::string followed(const std::string& path) {
  std::error_code not_a_link;
  return std::filesystem::is_symlink(path, not_a_link) ? std::filesystem::canonical(path).string() : path;
}

struct EarlierRun {
  std::string header_line;
  WholeLines lines;
};

// What an earlier run left in the file; nothing where it did not get past the header.
std::optional<EarlierRun> read_earlier_run(const Descriptor& file, const RunFileOptions& options,
                                           const std::string& header_line) {
  LineReader reader(file.get(), options.path);
  const std::string_view start = reader.start(header_line.size() + 1);
  if (start == std::string_view(header_line).substr(0, start.size())) {
    return std::nullopt;
  }
  const std::optional<Header> header = read_header(reader);
  if (!header) {
    fail(ExitCode::bad_input,
         "the output '{}' cannot be resumed and is left as it is: its first line is not the header of a demask run; "
         "name another --output, or leave out --resume=True to overwrite it",
         options.path);
  }
  // Through text once, as the file's was: what JSON has no value for, such as infinity, is null in both.
  const auto ours = nlohmann::ordered_json::parse(header_line);
  if (const auto difference = first_difference(header->members, ours, options.not_compared)) {
    fail(ExitCode::bad_usage,
         "the output '{}' cannot be resumed: its {} is {}, and that of this run is {}; run with the same settings, or "
         "name another --output",
         options.path, difference->key, difference->here, difference->there);
  }
  if (!header->ended) {
    return std::nullopt;
  }
  return EarlierRun{header->line, read_lines(reader, options.range)};
}

void check_line(int64_t index, const std::string& line) {
  if (index_of(line) != index || line.find('\n') != std::string::npos) {
    throw std::logic_error(fmt::format("not the line of sample {}: {}", index, line));
  }
}

}  // namespace

RunFile::RunFile(const RunFileOptions& options)
    : path_(options.path), header_line_(one_line(options.header)), range_(options.range), next_(options.range.first) {
  const OutputPlace place = output_place(path_);
  if (place.regular && !place.stream) {
    open_regular(options);
    return;
  }
  if (options.resume) {
    fail(ExitCode::bad_usage,
         "the output '{}' cannot be resumed: --resume=True needs an --output that is a regular file and not where "
         "standard output or error go",
         path_);
  }
  file_ = std::make_unique<DirectOutput>(place.stream ? duplicate(*place.stream) : open_to_write(path_), path_, false);
  file_->append(header_line_ + "\n");
}

RunFile::RunFile(RunFile&&) noexcept = default;
RunFile& RunFile::operator=(RunFile&&) noexcept = default;
RunFile::~RunFile() = default;

void RunFile::open_regular(const RunFileOptions& options) {
  const int access = options.resume ? O_RDWR : O_WRONLY;
  // Appending, so that a line that was cut off leaves no hole before the next one.
  Descriptor descriptor(::open(path_.c_str(), access | O_CREAT | O_APPEND | O_CLOEXEC, 0666));  // NOLINT(*-vararg)
  if (!descriptor.is_open()) {
    fail_output(path_, last_error());
  }
  if (!try_lock(descriptor, LOCK_EX)) {
    fail_locked(path_);
  }
  side_path_ = side_path_of(followed(path_));
  std::optional<EarlierRun> earlier;
  if (options.resume) {
    earlier = read_earlier_run(descriptor, options, header_line_);
  }
  file_ = std::make_unique<DirectOutput>(std::move(descriptor), path_, true);
  if (!earlier) {
    start_anew();
    return;
  }
  header_line_ = earlier->header_line;
  next_ = earlier->lines.next;
  file_->cut(earlier->lines.bytes);
  take_up_side();
}

void RunFile::start_anew() {
  remove_side();  // first: beside an empty file, its lines could be taken for those of the new run
  file_->cut(0);
  file_->append(header_line_ + "\n");
}

void RunFile::take_up_side() {
  SideLines side = read_side(side_path_, header_line_, range_, next_);
  held_ = std::move(side.held);
  if (!held_.empty()) {
    open_side(side.bytes);
  }
  if (held_.count(next_) > 0) {  // killed after it closed the gap, before all that had waited was written
    write_from_next("");
  }
}

// Keeps the first `bytes` of it: what follows is torn, or no longer needed.
void RunFile::open_side(int64_t bytes) {
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
  auto side = std::make_unique<DirectOutput>(Descriptor(::open(side_path_.c_str(), flags, 0666)),  // NOLINT(*-vararg)
                                             side_path_, true, bytes);
  side->cut(bytes);
  side_ = std::move(side);
}

void RunFile::remove_side() {
  side_.reset();
  if (::unlink(side_path_.c_str()) != 0 && errno != ENOENT && errno != ENAMETOOLONG) {
    fail(ExitCode::failed, "the file '{}' could not be removed: {}", side_path_, last_error());
  }
}

bool RunFile::has(int64_t index) const {
  return (index >= range_.first && index < next_) || held_.count(index) > 0;
}

void RunFile::append(int64_t index, std::string line) {
  check_line(index, line);
  if (index < range_.first || index >= range_.end() || has(index)) {
    throw std::logic_error(
        fmt::format("sample {} is there already or not one of {} from {} on", index, range_.count, range_.first));
  }
  if (index == next_) {
    write_from_next(std::move(line) + "\n");
  } else {
    hold(index, std::move(line));
  }
}

void RunFile::hold(int64_t index, std::string line) {
  if (!side_path_.empty()) {
    if (!side_) {
      open_side(0);
    }
    side_->append((held_.empty() ? header_line_ + "\n" : "") + line + "\n");
  }
  held_.emplace(index, std::move(line));
}

// `text` is the next line, or nothing where that is held; all held lines whose turn it then is follow it. Only when
// they are in the file, nothing of the side file is needed any more.
void RunFile::write_from_next(std::string text) {
  int64_t end = next_ + (text.empty() ? 0 : 1);
  do {
    auto line = held_.lower_bound(end);
    for (; line != held_.end() && line->first == end && text.size() < piece_bytes; ++line, ++end) {
      text += line->second;
      text += '\n';
    }
    file_->append(text);
    next_ = end;
    held_.erase(held_.begin(), line);
    text.clear();
  } while (held_.count(end) > 0);
  if (held_.empty() && side_) {
    side_->cut(0);
  }
}

void RunFile::finish() {
  if (!complete()) {
    throw std::logic_error(fmt::format("'{}' is not complete: sample {} is missing", path_, next_));
  }
  if (!side_path_.empty()) {
    file_->sync();  // before its removal, or a crash of the machine could cost lines that only the side file has
    remove_side();
  }
  file_->finish();
}

namespace {

struct Shard {
  std::string path;
  Descriptor file;
  nlohmann::ordered_json header;
  std::string header_line;
  int64_t index = 0;
  int64_t count = 1;
  IndexRange whole_run;
  IndexRange range;
};
using Shards = std::list<Shard>;  // in the order of their indices

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

// The side file of a run that was killed is matched by many a pattern that matches the run's own file.
bool is_side_file(const std::string& path) {
  const std::string ending = side_path_of("");
  const size_t length = path.size() - std::min(path.size(), ending.size());
  return path.substr(length) == ending && exists(path.substr(0, length));
}

std::vector<std::string> matching_paths(const std::string& pattern) {
  glob_t matches{};
  const int error = ::glob(pattern.c_str(), 0, nullptr, &matches);
  std::vector<std::string> paths(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  ::globfree(&matches);
  if (error != 0 && error != GLOB_NOMATCH) {
    fail(ExitCode::failed, "the files to merge could not be listed: '{}'", pattern);
  }
  paths.erase(std::remove_if(paths.begin(), paths.end(), is_side_file), paths.end());
  if (paths.empty()) {
    fail(ExitCode::bad_input, "no file matches '{}': name the files of all shards, such as 'out/samples-*.jsonl'",
         pattern);
  }
  return paths;
}

// Neither one of the files that are read nor one that a run writes, which would be lost.
void check_output(const std::string& output, const std::vector<std::string>& paths) {
  struct stat target {};
  if (::stat(output.c_str(), &target) != 0) {
    return;
  }
  for (const std::string& path : paths) {
    struct stat source {};
    if (::stat(path.c_str(), &source) == 0 && source.st_dev == target.st_dev && source.st_ino == target.st_ino) {
      fail(ExitCode::bad_usage, "the output '{}' is one of the files to merge, '{}': name another --output", output,
           path);
    }
  }
  if (S_ISREG(target.st_mode) && !standard_stream(target)) {
    const Descriptor file(::open(output.c_str(), O_RDONLY | O_CLOEXEC));  // NOLINT(*-vararg)
    if (file.is_open() && !try_lock(file, LOCK_SH)) {
      fail_locked(output);
    }
  }
}

Descriptor open_to_read(const std::string& path) {
  // Not waiting, as opening a pipe would for its other end.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));  // NOLINT(*-vararg)
  if (!file.is_open()) {
    fail_reading(path, last_error());
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    fail_reading(path, "it is not a regular file");
  }
  return file;
}

int64_t header_number(const nlohmann::ordered_json& members, const char* key, int64_t smallest,
                      const std::string& path) {
  constexpr int64_t largest = int64_t{1} << 61;  // sums of two are still numbers
  const auto member = members.find(key);
  if (member != members.end() && member->is_number_integer()) {
    const auto number = member->get<int64_t>();
    if (number >= smallest && number <= largest) {
      return number;
    }
  }
  fail(ExitCode::bad_input, "{}:1: the header has {} = {}, which should be an integer from {} to {}", path, key,
       member == members.end() ? "nothing" : one_line(*member), smallest, largest);
}

IndexRange header_range(const nlohmann::ordered_json& members, const std::string& path) {
  return {header_number(members, "first", 0, path), header_number(members, "samples", 0, path)};
}

Shard open_shard(const std::string& path) {
  Descriptor file = open_to_read(path);
  if (!try_lock(file, LOCK_SH)) {
    fail(ExitCode::failed, "the file '{}' is being written by a demask run: merge once that has ended", path);
  }
  LineReader reader(file.get(), path);
  std::optional<Header> header = read_header(reader);
  if (!header || !header->ended) {
    fail(ExitCode::bad_input,
         "the file '{}' does not begin with the header of a demask run: if it is that of a run that was interrupted, "
         "run it again with --resume=True to complete it, else leave it out",
         path);
  }
  const IndexRange whole_run = header_range(header->members, path);
  Shard shard{path, std::move(file), std::move(header->members), std::move(header->line), 0, 1, whole_run, whole_run};
  if (const auto place = shard.header.find("shard"); place != shard.header.end()) {
    shard.count = header_number(*place, "count", 1, path);
    shard.index = header_number(*place, "index", 0, path);
    shard.range = header_range(*place, path);
  }
  return shard;
}

Shards open_shards(const std::vector<std::string>& paths) {
  Shards shards;
  for (const std::string& path : paths) {
    shards.push_back(open_shard(path));
  }
  shards.sort([](const Shard& a, const Shard& b) { return a.index < b.index; });
  return shards;
}

void check_same_run(const Shards& shards, std::set<std::string> not_compared) {
  not_compared.insert("shard");
  const Shard& one = shards.front();
  for (const Shard& other : shards) {
    if (const auto difference = first_difference(one.header, other.header, not_compared)) {
      fail(ExitCode::bad_input,
           "'{}' and '{}' are not of one run: {} is {} in the former and {} in the latter; name only files of one run",
           one.path, other.path, difference->key, difference->here, difference->there);
    }
    if (other.count != one.count) {
      fail(ExitCode::bad_input,
           "'{}' is one of {} shards and '{}' one of {}: name only files of a run that was divided in one way",
           one.path, one.count, other.path, other.count);
    }
  }
}

// "shard 2 of 8 is", "shards 2 and 5 of 8 are".
std::string named_shards(const std::vector<std::string>& numbers, int64_t unnamed, int64_t count) {
  std::string names = numbers.front();
  for (size_t i = 1; i < numbers.size(); ++i) {
    names += (i + 1 == numbers.size() && unnamed == 0 ? " and " : ", ") + numbers[i];
  }
  if (unnamed > 0) {
    names += fmt::format(" and {} more", unnamed);
  }
  return numbers.size() == 1 && unnamed == 0 ? fmt::format("shard {} of {} is", names, count)
                                             : fmt::format("shards {} of {} are", names, count);
}

void check_every_shard_once(const Shards& shards, const std::string& pattern) {
  constexpr size_t most_named = 20;
  const int64_t count = shards.front().count;
  std::vector<std::string> missing;
  int64_t expected = 0;
  const Shard* before = nullptr;
  for (const Shard& shard : shards) {
    if (shard.index >= count) {
      fail(ExitCode::bad_input, "{}:1: the header has shard index {} of {} shards, which should be below {}",
           shard.path, shard.index, count, count);
    }
    if (before != nullptr && before->index == shard.index) {
      fail(ExitCode::bad_input, "shard {} of {} is there twice, as '{}' and '{}': leave out one of them", shard.index,
           count, before->path, shard.path);
    }
    for (; expected < shard.index && missing.size() < most_named; ++expected) {
      missing.push_back(std::to_string(expected));
    }
    expected = shard.index + 1;
    before = &shard;
  }
  for (; expected < count && missing.size() < most_named; ++expected) {
    missing.push_back(std::to_string(expected));
  }
  if (!missing.empty()) {
    const int64_t all = count - static_cast<int64_t>(shards.size());
    fail(ExitCode::bad_input, "{} missing among the files that match '{}': run what is missing, or name its file too",
         named_shards(missing, all - static_cast<int64_t>(missing.size()), count), pattern);
  }
}

void check_ranges_join(const Shards& shards) {
  int64_t next = shards.front().whole_run.first;
  for (const Shard& shard : shards) {
    if (shard.range.first != next) {
      fail(ExitCode::bad_input, "{}:1: shard {} of {} should begin with sample {}, where the one before ends, not {}",
           shard.path, shard.index, shard.count, next, shard.range.first);
    }
    next = shard.range.end();
  }
  const Shard& last = shards.back();
  if (next != last.whole_run.end()) {
    fail(ExitCode::bad_input, "{}:1: the last of {} shards should end before sample {}, as the whole run, not {}",
         last.path, last.count, last.whole_run.end(), next);
  }
}

// Where the lines of a shard are in its file.
struct Extent {
  off_t begin = 0;
  off_t end = 0;
};

Extent extent_of_complete(const Shard& shard) {
  LineReader reader(shard.file.get(), shard.path);
  reader.next();
  const off_t begin = reader.offset();
  const WholeLines lines = read_lines(reader, shard.range);
  if (lines.next == shard.range.end() && !lines.torn) {
    return {begin, lines.bytes};
  }
  const std::string side_path = side_path_of(followed(shard.path));
  const size_t waiting = read_side(side_path, shard.header_line, shard.range, lines.next).held.size();
  fail(ExitCode::bad_input,
       "the file '{}' has {} of its {} samples{}{}: run it again with --resume=True to complete it, then merge",
       shard.path, lines.next - shard.range.first, shard.range.count, lines.torn ? " and the beginning of a line" : "",
       waiting > 0 ? fmt::format(", and {} more wait in '{}'", waiting, side_path) : "");
}

void copy(const Shard& shard, const Extent& extent, Output& output) {
  std::vector<char> piece(piece_bytes);
  for (off_t offset = extent.begin; offset < extent.end;) {
    const auto wanted = static_cast<size_t>(std::min<off_t>(extent.end - offset, static_cast<off_t>(piece.size())));
    const size_t count = read_at(shard.file.get(), shard.path, piece.data(), wanted, offset);
    if (count == 0) {
      fail_reading(shard.path, "it became shorter while it was merged");
    }
    output.append({piece.data(), count});
    offset += static_cast<off_t>(count);
  }
}

}  // namespace

void merge_run_files(const std::string& pattern, const std::string& output, const std::set<std::string>& not_compared) {
  const std::vector<std::string> paths = matching_paths(pattern);
  check_output(output, paths);
  const Shards shards = open_shards(paths);  // locked up to the end, so that what was checked is what is copied
  check_same_run(shards, not_compared);
  check_every_shard_once(shards, pattern);
  check_ranges_join(shards);
  // Before the lines are read, which may take long, so that a path that cannot be written is found first.
  const std::unique_ptr<Output> merged = open_output(output);
  std::vector<Extent> extents;
  for (const Shard& shard : shards) {
    extents.push_back(extent_of_complete(shard));
  }
  nlohmann::ordered_json header = shards.front().header;
  header.erase("shard");
  merged->append(one_line(header) + "\n");
  auto extent = extents.begin();
  for (const Shard& shard : shards) {
    copy(shard, *extent++, *merged);
  }
  merged->finish();
}

}  // namespace demask
