#include "checkpoint/archive.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"

using Catch::Matchers::ContainsSubstring;
using demask::Archive;
using demask::StoredTensor;
using namespace demask::testing;

namespace {

const std::string archive_fixtures = std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/checkpoints/";

std::string refusal_of_archive(const std::string& path) {
  return bad_input_message([&] { Archive archive(path); });
}

// The bytes of an archive with data.pkl and one storage of 4 float32 (0, 1, 2, 3).
std::string small_archive(const TemporaryFolder& folder) {
  const std::string path = folder / "small.pt";
  const at::Tensor numbers = at::arange(4, at::kFloat);
  write_archive(path,
                {{"data.pkl", "pickle"}, {"data/0", std::string(static_cast<const char*>(numbers.data_ptr()), 16)}});
  return read_file(path);
}

// Overwrites bytes of the entry of the central directory whose name ends in `name`.
std::string with_entry(std::string zip, const std::string& name, size_t offset, const std::string& bytes) {
  const size_t name_at = zip.rfind(name, zip.rfind("PK\5\6"));
  const size_t entry = zip.rfind("PK\1\2", name_at);
  return zip.replace(entry + offset, bytes.size(), bytes);
}

StoredTensor stored(int64_t numel, int64_t offset, std::vector<int64_t> sizes, std::vector<int64_t> strides) {
  StoredTensor tensor;
  tensor.storage = "0";
  tensor.storage_numel = numel;
  tensor.offset = offset;
  tensor.sizes = std::move(sizes);
  tensor.strides = std::move(strides);
  return tensor;
}

}  // namespace

TEST_CASE("a missing checkpoint is named, with the files that are there and what to check") {
  const TemporaryFolder folder;
  write_file(folder / "b.pt", "x");
  write_file(folder / "a.pt", "x");
  CHECK(refusal_of_archive(folder / "none.pt") == "checkpoint not found: '" + folder / "none.pt" + "'. Files in '" +
                                                      folder.path() +
                                                      "': a.pt, b.pt. Check --out_dir and --checkpoint_name.");
  CHECK_THAT(refusal_of_archive(folder / "no/none.pt"),
             ContainsSubstring("There is no folder '" + folder / "no" + "'"));
  std::filesystem::create_directory(folder / "empty");
  CHECK_THAT(refusal_of_archive(folder / "empty/none.pt"), ContainsSubstring("There are no files in"));
}

TEST_CASE("what is not a checkpoint is refused for what it is") {
  const TemporaryFolder folder;
  const auto refusal_of = [&](const std::string& content) {
    write_file(folder / "x.pt", content);
    const std::string message = refusal_of_archive(folder / "x.pt");
    CHECK_THAT(message, ContainsSubstring(folder / "x.pt"));
    return message;
  };
  CHECK_THAT(refusal_of_archive(folder.path()), ContainsSubstring("is a directory"));
  CHECK_THAT(refusal_of_archive("/dev/null"), ContainsSubstring("is not a regular file"));
  CHECK_THAT(refusal_of(""), ContainsSubstring("is empty"));
  CHECK_THAT(refusal_of("To be, or not to be"), ContainsSubstring("is not a checkpoint"));
  CHECK_THAT(refusal_of(std::string(5000, '\x9c')), ContainsSubstring("is not a checkpoint"));
  CHECK_THAT(refusal_of_archive(archive_fixtures + "legacy.pt"), ContainsSubstring("before PyTorch 1.6"));

  const std::string zip = small_archive(folder);
  CHECK_THAT(refusal_of(zip.substr(0, zip.size() / 2)), ContainsSubstring("truncated"));
  CHECK_THAT(refusal_of(zip.substr(0, zip.size() - 10)), ContainsSubstring("truncated"));
  CHECK_THAT(refusal_of(zip.substr(0, 300) + zip.substr(600)), ContainsSubstring("damaged"));
}

TEST_CASE("a file of another format is named, with what to do about it") {
  const TemporaryFolder folder;
  const auto refusal_of = [&](const std::string& content) {
    write_file(folder / "x.pt", content);
    return refusal_of_archive(folder / "x.pt");
  };
  const auto is = [&](const std::string& what) { return ContainsSubstring("it is " + what); };
  using namespace std::string_literals;
  const std::string rest(600, 'x');
  CHECK_THAT(refusal_of("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"),
             is("a Git LFS pointer") && ContainsSubstring("git lfs pull"));
  CHECK_THAT(refusal_of("GGUF\3\0\0\0"s + rest), is("a GGUF file") && ContainsSubstring("TorchScript"));
  CHECK_THAT(refusal_of("<!DOCTYPE html><html>" + rest), is("a web page") && ContainsSubstring("Download"));
  CHECK_THAT(refusal_of("\n <HTML>\n"), is("a web page"));
  CHECK_THAT(refusal_of("\x1f\x8b\x08\0"s + rest), is("compressed with gzip") && ContainsSubstring("Unpack"));
  CHECK_THAT(refusal_of("\xfd\x37zXZ\0"s + rest), is("compressed with xz"));
  CHECK_THAT(refusal_of("\x28\xb5\x2f\xfd" + rest), is("compressed with zstd"));
  CHECK_THAT(refusal_of("BZh9" + rest), is("compressed with bzip2"));
  CHECK_THAT(refusal_of("\x20\0\0\0\0\0\0\0{\"a\":{}}"s + rest), is("a safetensors file"));
  CHECK_THAT(refusal_of(std::string(257, '\0') + "ustar" + rest), is("a tar archive"));
  CHECK_THAT(refusal_of("PK\5\6"s + std::string(18, '\0')), is("a zip file that holds nothing"));
  CHECK_THAT(refusal_of("(dp0\nVmodel\np1\n(dp2\ns."), is("a pickle of protocol 0 or 1"));
  CHECK_THAT(refusal_of("}q\0.U\5model"s), is("a pickle of protocol 0 or 1"));
  CHECK_THAT(refusal_of("\x80\x04}\x94."), ContainsSubstring("looks like a pickle"));
}

TEST_CASE("an archive truncated anywhere gives an error") {
  const TemporaryFolder folder;
  const std::string zip = small_archive(folder);
  for (size_t size = 0; size < zip.size(); size += 7) {
    write_file(folder / "cut.pt", zip.substr(0, size));
    CHECK_THAT(refusal_of_archive(folder / "cut.pt"), ContainsSubstring("cut.pt"));
  }
}

TEST_CASE("a record that claims more than the file holds is refused before it is read") {
  const TemporaryFolder folder;
  const std::string zip = small_archive(folder);
  const std::string path = folder / "claims.pt";
  const std::string two_gib = pickled::little_endian(uint64_t{1} << 31, 4);

  write_file(path, with_entry(zip, "data/0", 24, two_gib));  // uncompressed size
  CHECK_THAT(refusal_of_archive(path), ContainsSubstring("record 'data/0' claims 2147483648 bytes"));
  write_file(path, with_entry(zip, "data/0", 20, two_gib + two_gib));  // and compressed size
  CHECK_THAT(refusal_of_archive(path), ContainsSubstring("record 'data/0' claims 2147483648 bytes"));
  write_file(path, with_entry(zip, "data/0", 42, two_gib));  // offset
  CHECK_THAT(refusal_of_archive(path), ContainsSubstring("that are not in the file"));
  write_file(path, with_entry(with_entry(zip, "version", 24, two_gib), "version", 10, "\x08"));  // a deflated marker
  CHECK_THAT(refusal_of_archive(path), ContainsSubstring("'version' is implausibly large"));
}

TEST_CASE("compressed, repeated, missing and damaged records are refused when they are read") {
  const TemporaryFolder folder;
  const std::string zip = small_archive(folder);
  const std::string path = folder / "record.pt";
  const auto reading = [&](const std::string& content, const std::string& record) {
    write_file(path, content);
    return bad_input_message([&] { Archive(path).read(record); });
  };
  CHECK_THAT(reading(zip, "other.pkl"), ContainsSubstring("has no record 'other.pkl'"));
  CHECK_THAT(reading(with_entry(zip, "data.pkl", 10, "\x08"), "data.pkl"), ContainsSubstring("is compressed"));
  write_archive(path, {{"data.pkl", "pickle"}, {"DATA.PKL", "other"}});
  CHECK_THAT(reading(read_file(path), "data.pkl"), ContainsSubstring("twice"));
  const size_t second_record = zip.find("PK\3\4", 4);
  CHECK_THAT(reading(std::string(zip).replace(second_record, 4, "????"), "data/0"),
             ContainsSubstring("cannot be read") && !ContainsSubstring("\n"));
}

TEST_CASE("a zip file that torch did not write is refused") {
  const TemporaryFolder folder;
  const std::string zip = small_archive(folder);
  std::string no_version = zip;
  for (size_t at = 0; (at = no_version.find("version", at)) != std::string::npos;) {
    no_version.replace(at, 7, "nothing");
  }
  write_file(folder / "x.pt", no_version);
  CHECK_THAT(refusal_of_archive(folder / "x.pt"), ContainsSubstring("torch.save did not write"));
}

TEST_CASE("a checkpoint of a form to come is refused, and one whose version is no number") {
  const TemporaryFolder folder;
  const std::string zip = small_archive(folder), path = folder / "later.pt";
  const size_t data = zip.find("3\n", zip.find("small/version"));
  REQUIRE(data != std::string::npos);
  for (const std::string version : {"0\n", "x\n", "??"}) {
    write_file(path, std::string(zip).replace(data, 2, version));
    CHECK_THAT(refusal_of_archive(path), ContainsSubstring("is of version '" + version.substr(0, version.find('\n'))) &&
                                             ContainsSubstring("1 to 10"));
  }
  write_file(path, std::string(zip).replace(data, 2, "11"));
  CHECK_THAT(refusal_of_archive(path), ContainsSubstring("is of version '11'"));
}

TEST_CASE("a checkpoint of a big-endian machine is refused") {
  const TemporaryFolder folder;
  write_archive(folder / "big.pt", {{"data.pkl", "pickle"}, {"byteorder", "big"}});
  CHECK_THAT(refusal_of_archive(folder / "big.pt"), ContainsSubstring("big-endian"));
}

TEST_CASE("TorchScript is told from training checkpoints by content") {
  CHECK(Archive(archive_fixtures + "torchscript.pt").is_torchscript());
  CHECK_FALSE(Archive(archive_fixtures + "training_float32.pt").is_torchscript());
}

TEST_CASE("records are found whatever the folder in the archive is called") {
  const TemporaryFolder folder;
  std::string zip = small_archive(folder);
  for (size_t at = 0; (at = zip.find("small/", at)) != std::string::npos;) {
    zip.replace(at, 6, "other/");
  }
  write_file(folder / "renamed.pt", zip);
  CHECK(Archive(folder / "renamed.pt").read("data.pkl") == "pickle");
}

TEST_CASE("a tensor is a strided view of its storage") {
  const TemporaryFolder folder;
  small_archive(folder);
  const Archive archive(folder / "small.pt");
  const auto read = [&](const StoredTensor& tensor) { return archive.read(tensor, "t"); };
  CHECK(read(stored(4, 0, {4}, {1})).equal(at::arange(4, at::kFloat)));
  CHECK(read(stored(4, 0, {2, 2}, {1, 2})).equal(at::arange(4, at::kFloat).reshape({2, 2}).t()));
  CHECK(read(stored(4, 1, {2}, {2})).equal(at::tensor({1.0F, 3.0F})));
  CHECK(read(stored(4, 3, {}, {})).item<float>() == 3.0F);
  CHECK(read(stored(4, 0, {0, 7}, {7, 1})).sizes() == at::IntArrayRef({0, 7}));
  CHECK(read(stored(4, 0, {2, 2}, {1, 2})).is_contiguous());
}

TEST_CASE("a tensor that is looked at lies in the file where it lies there in order, and holds what is read") {
  const TemporaryFolder folder;
  small_archive(folder);
  const Archive archive(folder / "small.pt");
  const auto check = [&](const StoredTensor& tensor) {
    const at::Tensor seen = archive.look_at(tensor, "t");
    CHECK(seen.equal(archive.read(tensor, "t")));
    return seen.data_ptr();
  };
  const StoredTensor whole = stored(4, 0, {2, 2}, {2, 1});
  CHECK(check(whole) == check(whole));
  CHECK(check(stored(4, 1, {3}, {1})) == static_cast<float*>(check(whole)) + 1);
  CHECK(check(stored(4, 0, {1, 4}, {77, 1})) == check(whole));
  const StoredTensor transposed = stored(4, 0, {2, 2}, {1, 2});
  const at::Tensor one = archive.look_at(transposed, "t");
  CHECK(check(transposed) != one.data_ptr());
  check(stored(4, 0, {0, 7}, {7, 1}));
  archive.drop(whole);
  CHECK(archive.look_at(whole, "t").equal(at::arange(4, at::kFloat).reshape({2, 2})));
}

TEST_CASE("a tensor that does not lie within its storage is refused") {
  const TemporaryFolder folder;
  small_archive(folder);
  const Archive archive(folder / "small.pt");
  const auto refused = [&](const StoredTensor& tensor) {
    const std::string message = bad_input_message([&] { archive.read(tensor, "some.weight"); });
    CHECK(bad_input_message([&] { archive.look_at(tensor, "some.weight"); }) == message);
    return message;
  };
  constexpr int64_t large = int64_t{1} << 62;
  CHECK_THAT(refused(stored(5, 0, {5}, {1})),
             ContainsSubstring("'some.weight' claims a storage of 5 elements, but its record holds 4"));
  CHECK_THAT(refused(stored(large, 0, {large}, {1})), ContainsSubstring("claims a storage"));
  CHECK_THAT(refused(stored(4, 1, {4}, {1})), ContainsSubstring("reaches past the end of its storage of 4 elements"));
  CHECK_THAT(refused(stored(4, 0, {2, 2}, {3, 1})), ContainsSubstring("reaches past the end"));
  CHECK_THAT(refused(stored(4, 0, {large, large}, {large, large})), ContainsSubstring("reaches past the end"));
  CHECK_THAT(refused(stored(4, 0, {3, 2}, {large, large})), ContainsSubstring("reaches past the end"));
  CHECK_THAT(refused(stored(4, 0, {large}, {0})), ContainsSubstring("reaches past the end"));
  CHECK_THAT(refused(stored(4, INT64_MAX, {1}, {1})), ContainsSubstring("reaches past the end"));
  CHECK_THAT(refused(stored(4, -1, {1}, {1})), ContainsSubstring("no tensor has"));
  CHECK_THAT(refused(stored(4, 0, {-1}, {1})), ContainsSubstring("no tensor has"));
  CHECK_THAT(refused(stored(4, 3, {2}, {-1})), ContainsSubstring("no tensor has"));
  CHECK_THAT(refused(stored(4, 0, {2, 2}, {1})), ContainsSubstring("no tensor has"));
  StoredTensor elsewhere = stored(4, 0, {4}, {1});
  elsewhere.storage = "../data.pkl";
  CHECK_THAT(refused(elsewhere), ContainsSubstring("storage '../data.pkl', which is not in the file"));
}
