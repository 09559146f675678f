#include "checkpoint/pickle.h"

#include <filesystem>
#include <limits>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/pickled.h"
#include "tests/support/process.h"

using Catch::Matchers::ContainsSubstring;
using demask::Pickle;
using demask::PickleValue;
using demask::testing::bad_input_message;
using demask::testing::read_file;
using namespace demask::testing::pickled;
using Kind = demask::PickleValue::Kind;

namespace {

std::string refusal_of_pickle(const std::string& pickle) {
  return bad_input_message([&] { Pickle(pickle, "file"); });
}

std::string repeated(const std::string& piece, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) {
    all += piece;
  }
  return all;
}

const std::string vocabularies = std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/vocabularies/";

}  // namespace

TEST_CASE("every value of a dict that Python pickled is read, in each protocol and from both of its picklers") {
  const std::string protocol = GENERATE("2", "3", "4", "5", "2_python", "3_python", "4_python", "5_python");
  CAPTURE(protocol);
  const Pickle pickle(read_file(vocabularies + "meta_protocol" + protocol + ".pkl"), "meta");
  REQUIRE(pickle.root().kind == Kind::dict);
  CHECK(find(pickle.root(), "vocab_size")->integer == 7);
  const PickleValue& itos = *find(pickle.root(), "itos");
  REQUIRE(itos.items.size() == 14);
  CHECK(itos.items[10]->integer == 5);
  CHECK(itos.items[11]->text == "🙂");

  const PickleValue& other = *find(pickle.root(), "other");
  REQUIRE(other.items.size() == 13);
  CHECK(other.items[0]->kind == Kind::none);
  CHECK((other.items[1]->kind == Kind::boolean && other.items[1]->integer == 1));
  CHECK(other.items[2]->integer == -1);
  CHECK(other.items[3]->real == 1.5);
  CHECK(other.items[4]->kind == Kind::big_integer);
  REQUIRE(other.items[7]->kind == Kind::tuple);
  CHECK(other.items[7]->items.size() == 4);
  CHECK(find(*other.items[10], "a")->integer == 1);
  CHECK((other.items[11]->kind == Kind::real && other.items[11]->real == 2.0));  // numpy.float32(2.0)
  CHECK(other.items[12]->integer == -(int64_t{1} << 40));
}

TEST_CASE("bytes, bytearrays and sets of protocol 5 are told apart") {
  const Pickle pickle(read_file(vocabularies + "meta_protocol5.pkl"), "meta");
  const PickleValue& other = *find(pickle.root(), "other");
  CHECK((other.items[5]->kind == Kind::bytes && other.items[5]->text == "bytes"));
  CHECK((other.items[6]->kind == Kind::bytes && other.items[6]->text == "array"));
  CHECK((other.items[8]->kind == Kind::set && other.items[8]->items.size() == 2));
  CHECK((other.items[9]->kind == Kind::set && other.items[9]->items[0]->integer == 3));
}

TEST_CASE("a call is kept as data, named, and never made") {
  const Pickle pickle(document(call(global("posix", "system"), {text("touch demask_was_here")})), "file");
  CHECK(pickle.root().kind == Kind::call);
  CHECK(describe(pickle.root()) == "a call of 'posix.system', which demask does not run");
  CHECK(is_call_of(pickle.root(), "posix.system", 1));
  CHECK_FALSE(is_call_of(pickle.root(), "posix.system", 2));
  CHECK_FALSE(std::filesystem::exists("demask_was_here"));
}

TEST_CASE("what is done to an unknown object is dropped, and calls of it stay named after the first") {
  const std::string object_with_all = call(global("a", "B"), {}) + integer(1) + "a" + "(" + integer(1) + integer(2) +
                                      "e" + text("k") + integer(3) + "s" + dict({}) + "b";
  const Pickle pickle(document(object_with_all + ")R"), "file");
  CHECK(describe(pickle.root()) == "a call of 'a.B', which demask does not run");
}

namespace {

std::string numpy_scalar(const std::string& dtype, const std::string& order, const std::string& bytes,
                         const std::string& module = "numpy.core.multiarray") {
  const std::string type = call(global("numpy", "dtype"), {text(dtype), boolean(false), boolean(true)}) +
                           tuple({integer(3), text(order), none(), none(), none(), integer(-1)}) + "b";
  return call(global(module, "scalar"), {type, "C" + little_endian(bytes.size(), 1) + bytes});
}

}  // namespace

TEST_CASE("NumPy's scalars are the numbers, truth values and texts that they are, of NumPy 1 and 2") {
  const std::string module = GENERATE("numpy.core.multiarray", "numpy._core.multiarray");
  const auto check = [&](const std::string& dtype, const std::string& order, const std::string& bytes,
                         const std::string& description) {
    const Pickle pickle(document(numpy_scalar(dtype, order, bytes, module)), "file");
    CHECK(describe(pickle.root()) == description);
  };
  check("i8", "<", "\x05\0\0\0\0\0\0\0"s, "the integer 5");
  check("i8", ">", "\0\0\0\0\0\0\0\x05"s, "the integer 5");
  check("i4", "<", "\xfe\xff\xff\xff"s, "the integer -2");
  check("u4", "<", "\xfe\xff\xff\xff"s, "the integer 4294967294");
  check("i1", "|", "\xff"s, "the integer -1");
  check("u8", "<", "\xff\xff\xff\xff\xff\xff\xff\xff"s, "an integer beyond 64 bits");
  check("b1", "|", "\x01"s, "True");
  check("f8", "<", "\0\0\0\0\0\0\xf8\x3f"s, "the float 1.5");
  check("f4", ">", "\xbf\x80\0\0"s, "the float -1");
  check("f2", "<", "\0\x3e"s, "the float 1.5");                    // 0 01111 1000000000
  check("f2", "<", "\x01\0"s, "the float 5.960464477539063e-08");  // the smallest, 2^-24
  check("U2", "<", "\xe9\0\0\0\0\0\0\0"s, "the string 'é'");
  check("U1", ">", "\0\x01\xf6\x42"s, "the string '🙂'");
}

TEST_CASE("What is no scalar that NumPy writes stays a call that is not made") {
  const auto described = [](const std::string& opcodes) {
    const Pickle pickle(document(opcodes), "file");
    return describe(pickle.root());
  };
  const std::string refused = "a call of 'numpy.core.multiarray.scalar', which demask does not run";
  CHECK(described(numpy_scalar("i8", "<", "\x05"s)) == refused);                 // too short
  CHECK(described(numpy_scalar("i8", "=", "\0\0\0\0\0\0\0\0"s)) == refused);     // of the writer's machine
  CHECK(described(numpy_scalar("c16", "<", std::string(16, '\0'))) == refused);  // complex
  CHECK(described(numpy_scalar("O8", "<", std::string(8, '\0'))) == refused);    // a Python object
  CHECK(described(numpy_scalar("U1", "<", "\0\xd8\0\0"s)) == refused);           // half of a surrogate pair
  CHECK(described(numpy_scalar("U99999999", "<", "\0\0\0\0"s)) == refused);
  CHECK(described(numpy_scalar("i", "<", "\0"s)) == refused);
  CHECK(described(call(global("numpy.core.multiarray", "scalar"), {none(), none()})) == refused);
}

TEST_CASE("an OrderedDict is a dict, also with state and after the memo") {
  const std::string ordered = call(global("collections", "OrderedDict"), {}) + "q\x05" + text("k") + integer(3) + "s" +
                              object({{"_metadata", none()}}) + "b0h\x05";
  const Pickle pickle(document(ordered), "file");
  REQUIRE(pickle.root().kind == Kind::dict);
  CHECK(find(pickle.root(), "k")->integer == 3);
  CHECK(find(pickle.root(), "_metadata") == nullptr);
}

TEST_CASE("the last of two equal keys counts, as in Python") {
  const Pickle pickle(document(object({{"k", integer(1)}, {"k", integer(2)}})), "file");
  CHECK(find(pickle.root(), "k")->integer == 2);
}

TEST_CASE("integers are little-endian two's complement of any width") {
  const auto number = [](const std::string& opcodes) { return Pickle(document(opcodes), "file").root().integer; };
  CHECK(number("J\xff\xff\xff\xff") == -1);
  CHECK(number("J\x00\x00\x00\x80"s) == std::numeric_limits<int32_t>::min());
  CHECK(number("M\xff\xff") == 65535);
  CHECK(number("\x8a\x00"s) == 0);
  CHECK(number("\x8a\x02\x00\xff"s) == -256);
  CHECK(number("\x8b\x02\x00\x00\x00\xff\x00"s) == 255);
  CHECK(number(integer(std::numeric_limits<int64_t>::min())) == std::numeric_limits<int64_t>::min());
}

TEST_CASE("a list that contains itself is read and freed") {
  const Pickle pickle(document("]q\x01h\x01"s + "a"), "file");
  REQUIRE(pickle.root().items.size() == 1);
  CHECK(pickle.root().items[0] == &pickle.root());
}

TEST_CASE("100,000 nested values are refused, whatever nests them") {
  CHECK_THAT(refusal_of_pickle(document(repeated("]", 100'000) + repeated("a", 99'999))),
             ContainsSubstring("nest more than 1000 deep"));
  CHECK_THAT(refusal_of_pickle(document(")" + repeated("\x85", 100'000))),
             ContainsSubstring("nest more than 1000 deep"));
  CHECK_THAT(refusal_of_pickle(document(repeated("}K\x01", 100'000) + "N" + repeated("s", 100'000))),
             ContainsSubstring("nest more than 1000 deep"));
  CHECK_THAT(refusal_of_pickle(document(repeated("(", 100'000) + "N" + repeated("t", 100'000))),
             ContainsSubstring("nest more than 1000 deep"));
  CHECK_THAT(refusal_of_pickle(document("N" + repeated("Q", 100'000))), ContainsSubstring("nest more than 1000 deep"));
}

TEST_CASE("lengths that the file does not have are refused before anything is allocated") {
  const std::string huge = little_endian(uint64_t{1} << 60, 8);
  for (const char* opcode : {"\x8d", "\x8e", "\x96", "\x95"}) {
    CHECK_THAT(refusal_of_pickle(document(opcode + huge)), ContainsSubstring("file: cannot read"));
  }
  for (const char* opcode : {"X", "T", "B", "\x8b"}) {
    CHECK_THAT(refusal_of_pickle(document(opcode + "\xff\xff\xff\xff"s)),
               ContainsSubstring("ends too early (4294967295 bytes needed, 1 left)"));
  }
}

TEST_CASE("a stack or a number of values beyond bounds is refused") {
  CHECK_THAT(refusal_of_pickle(document("N" + repeated("2", 1'100'000))), ContainsSubstring("wait on its stack"));
  CHECK_THAT(refusal_of_pickle(document(repeated("N0", 9'000'000))), ContainsSubstring("more than 8388608 values"));
}

TEST_CASE("a long name that the memo repeats is refused before its copies fill the memory") {
  const std::string name = text(std::string(1'000'000, 'n')) + "q\x01";
  CHECK_THAT(refusal_of_pickle(document(name + repeated("h\x01h\x01\x93"s + "0", 100'000))),
             ContainsSubstring("more than 8388608 values"));
}

TEST_CASE("malformed pickles are refused with the place and the reason") {
  CHECK_THAT(refusal_of_pickle(""), ContainsSubstring("not a pickle of protocol 2 to 5"));
  CHECK_THAT(refusal_of_pickle("\x80\x02"), ContainsSubstring("ends too early"));
  CHECK_THAT(refusal_of_pickle("\x80\x06N."), ContainsSubstring("protocol 6 is not one of 2 to 5"));
  CHECK_THAT(refusal_of_pickle(read_file(vocabularies + "meta_protocol0.pkl")),
             ContainsSubstring("not a pickle of protocol 2 to 5"));
  CHECK_THAT(refusal_of_pickle(document("")), ContainsSubstring("finds an empty stack"));
  CHECK_THAT(refusal_of_pickle(document("t")), ContainsSubstring("finds no mark"));
  CHECK_THAT(refusal_of_pickle(document("(.")), ContainsSubstring("finds an empty stack"));
  CHECK_THAT(refusal_of_pickle(document("h\x07")), ContainsSubstring("memo entry 7"));
  CHECK_THAT(refusal_of_pickle(document("I1\n")), ContainsSubstring("opcode 0x49"));
  CHECK_THAT(refusal_of_pickle(document("N" + text("k") + "a")), ContainsSubstring("cannot add to None"));
  CHECK_THAT(refusal_of_pickle(document("}(N" + ""s + "u")), ContainsSubstring("a key without a value"));
  CHECK_THAT(refusal_of_pickle(document(global("a", "b") + "NR")), ContainsSubstring("not a tuple"));
  CHECK_THAT(refusal_of_pickle(document("NN\x93")), ContainsSubstring("a name is not a string"));
  CHECK_THAT(refusal_of_pickle(document("cmodule")), ContainsSubstring("a name has no end"));
}
