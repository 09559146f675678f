#include "checkpoint/safetensors.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"
#include "tests/support/safetensors_files.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask;
using namespace demask::testing;
using namespace std::string_literals;

namespace {

// What reading a file of these bytes complains about; the message must name the file.
std::string refusal_of_safetensors(const std::string& bytes) {
  const TemporaryFolder folder;
  write_file(folder / "x.safetensors", bytes);
  const std::string message = bad_input_message([&] { SafetensorsFile(folder / "x.safetensors"); });
  CHECK_THAT(message, ContainsSubstring(folder / "x.safetensors"));
  return message;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return '"' + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + '}';
}

struct Hostile {
  std::string what;
  std::string header;
  std::string complaint;
};

}  // namespace

TEST_CASE("tensors are read from the mapped file as they are stored, and stay readable when it is closed") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  write_file(path, safetensors_of({{"a", at::arange(6).reshape({2, 3})}, {"b", at::full({}, 0.5)}}));
  at::Tensor a, b;
  {
    const SafetensorsFile file(path);
    CHECK(file.tensors().at("a").shape == std::vector<int64_t>{2, 3});
    a = file.read("a");
    b = file.read("b");
    file.drop("a");
  }
  std::filesystem::remove(path);
  CHECK(a.equal(at::arange(6).reshape({2, 3}).to(at::kFloat)));
  CHECK(b.item<float>() == 0.5F);
}

TEST_CASE("metadata is read past, and empty tensors and padding of the header are allowed") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  write_file(path, safetensors_of(R"({"__metadata__":{"format":"pt"},)" + entry("a", "F16", "[0,3]", "[0,0]") + "," +
                                      entry("b", "BF16", "[1]", "[0,2]") + "}   ",
                                  "\x80\x3f"));
  const SafetensorsFile file(path);
  CHECK(file.tensors().size() == 2);
  CHECK(file.read("a").sizes() == at::IntArrayRef({0, 3}));
  CHECK(file.read("b").item<float>() == 1.0F);
}

TEST_CASE("a tensor at an odd address is read") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  write_file(path, safetensors_of("{" + entry("a", "F32", "[1]", "[0,4]") + "} ", "\0\0\x80\x3f"s));
  const std::string spaces(3, ' ');
  for (size_t shift = 0; shift < 4; ++shift) {
    write_file(
        path, safetensors_of("{" + entry("a", "F32", "[1]", "[0,4]") + "}" + spaces.substr(0, shift), "\0\0\x80\x3f"s));
    CHECK(SafetensorsFile(path).read("a").item<float>() == 1.0F);
  }
}

TEST_CASE("a header that lies is refused by what is wrong with it") {
  const auto hostile = GENERATE(values<Hostile>({
      {"no object", "[]", "not of safetensors"},
      {"not JSON", "{nonsense", "not JSON"},
      {"cut short", R"({"a":{"dtype":"F32")", "not JSON"},
      {"followed by more", "{} {}", "not JSON"},
      {"invalid UTF-8", "{\"\xff\":1}", "not JSON"},
      {"a name twice", "{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry("a", "F32", "[1]", "[0,4]") + "}",
       "'a' stands twice"},
      {"a field twice", R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "twice 'dtype'"},
      {"an unknown field", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", "unknown field 'x'"},
      {"no dtype", R"({"a":{"shape":[1],"data_offsets":[0,4]}})", "'a' lacks its dtype"},
      {"no shape", R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", "'a' lacks its shape"},
      {"no offsets", R"({"a":{"dtype":"F32","shape":[1]}})", "'a' lacks its data_offsets"},
      {"an unknown dtype", "{" + entry("a", "Q4", "[1]", "[0,4]") + "}", "unknown dtype 'Q4'"},
      {"a number for a tensor", R"({"a":3})", "a number"},
      {"a string for a tensor", R"({"a":"F32"})", "a string"},
      {"null for a tensor", R"({"a":null})", "null"},
      {"a string for a shape", R"({"a":{"dtype":"F32","shape":"1","data_offsets":[0,4]}})", "a string"},
      {"a number for a dtype", R"({"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}})", "a number"},
      {"a negative size", "{" + entry("a", "F32", "[-1]", "[0,4]") + "}", "a negative number"},
      {"a fraction", "{" + entry("a", "F32", "[1.5]", "[0,4]") + "}", "no 64-bit integer"},
      {"a size past 64 bits", "{" + entry("a", "F32", "[99999999999999999999]", "[0,4]") + "}", "no 64-bit integer"},
      {"a size of 2^63", "{" + entry("a", "F32", "[9223372036854775808]", "[0,4]") + "}", "too large"},
      {"nine dimensions", "{" + entry("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") + "}", "too many"},
      {"three offsets", "{" + entry("a", "F32", "[1]", "[0,4,8]") + "}", "too many"},
      {"one offset", "{" + entry("a", "F32", "[1]", "[0]") + "}", "1 data_offsets"},
      {"an array in an array", "{" + entry("a", "F32", "[[1]]", "[0,4]") + "}", "an array"},
      {"an object in metadata", R"({"__metadata__":{"a":{}}})", "an object"},
      {"metadata twice", R"({"__metadata__":{},"__metadata__":{}})", "stands twice"},
      {"elements that overflow", "{" + entry("a", "F32", "[4294967296,4294967296]", "[0,4]") + "}",
       "more bytes than any file"},
      {"offsets of 2^60", "{" + entry("a", "F32", "[288230376151711744]", "[0,1152921504606846976]") + "}",
       "ends at byte 1152921504606846976"},
      {"a shape of other bytes", "{" + entry("a", "F32", "[2]", "[0,4]") + "}", "has 8 bytes"},
      {"offsets that go back", "{" + entry("a", "F32", "[1]", "[4,0]") + "}", "data_offsets are [4, 0]"},
      {"an overlap", "{" + entry("a", "F32", "[2]", "[0,8]") + "," + entry("b", "F32", "[1]", "[4,8]") + "}",
       "'a' and 'b' overlap"},
      {"one place for two", "{" + entry("a", "F32", "[2]", "[0,8]") + "," + entry("b", "F32", "[2]", "[0,8]") + "}",
       "'a' and 'b' overlap"},
      {"a gap", "{" + entry("a", "F32", "[1]", "[4,8]") + "}", "4 bytes between the header and the tensor 'a'"},
      {"past the end", "{" + entry("a", "F32", "[3]", "[0,12]") + "}", "but the file holds 8"},
      {"bytes that are no tensor's", "{" + entry("a", "F32", "[1]", "[0,4]") + "}", "4 bytes follow"},
  }));
  CAPTURE(hostile.what);
  CHECK_THAT(refusal_of_safetensors(safetensors_of(hostile.header, std::string(8, '\0'))),
             ContainsSubstring(hostile.complaint));
}

TEST_CASE("the length of a header is bounded by the file and by the format") {
  CHECK_THAT(refusal_of_safetensors(length_prefix(1000) + "{}"),
             ContainsSubstring("claims 1000 bytes, but the file has 10"));
  CHECK_THAT(refusal_of_safetensors(length_prefix(uint64_t{1} << 63) + "{}"),
             ContainsSubstring("claims 9223372036854775808 bytes, more than"));
  CHECK_THAT(refusal_of_safetensors(length_prefix(~uint64_t{0}) + "{}"),
             ContainsSubstring("more than the 100000000 allowed"));
  CHECK_THAT(refusal_of_safetensors(length_prefix(0) + "{}"), ContainsSubstring("not JSON"));
  CHECK_THAT(refusal_of_safetensors("1234567"), ContainsSubstring("not of safetensors"));
  CHECK_THAT(refusal_of_safetensors("version https://git-lfs.github.com/spec/v1\noid"),
             ContainsSubstring("git lfs pull"));
}

TEST_CASE("a header nested 100,000 deep is refused") {
  const std::string deep(100'000, '[');
  CHECK_THAT(refusal_of_safetensors(safetensors_of(R"({"a":)" + deep + "}")), ContainsSubstring("an array"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) {
    objects += R"({"a":)";
  }
  CHECK_THAT(refusal_of_safetensors(safetensors_of(objects)), ContainsSubstring("'a'"));
}

TEST_CASE("a tensor that is read must be of a dtype that demask computes with") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  write_file(path, safetensors_of("{" + entry("a", "I64", "[1]", "[0,8]") + "}", std::string(8, '\0')));
  const SafetensorsFile file(path);
  CHECK_THAT(bad_input_message([&] { file.read("a"); }), ContainsSubstring("'a' is stored as I64"));
}

TEST_CASE("a file that is cut short after it was opened is an error when it is read") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  write_file(path, safetensors_of({{"a", at::zeros({100'000})}}));
  const SafetensorsFile file(path);
  std::filesystem::resize_file(path, 1000);
  CHECK_THAT(bad_input_message([&] { file.read("a"); }), ContainsSubstring("has become shorter"));
}
