#include "checkpoint/file_kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "core/text.h"

namespace demask {
namespace {

// The bytes that a format begins with, and what is to be said of a file that does.
struct Signature {
  std::string_view bytes;
  const char* what;
  const char* remedy;  // empty: the advice of the kind of file that was wanted
};

constexpr const char* unpack = "Unpack it first.";
constexpr const char* other_weights =
    "Load it with the program that wrote it, and save its weights with torch.save in nanoGPT's form, or the model as "
    "TorchScript.";
constexpr const char* pickle_again = "Write it again with pickle.dump(..., protocol=4).";

using namespace std::string_view_literals;

constexpr std::array signatures = {
    Signature{"version https://git-lfs.github.com/spec"sv, "a Git LFS pointer, which only stands for the file",
              "Fetch the file itself: git lfs pull."},
    Signature{"GGUF"sv, "a GGUF file of llama.cpp", other_weights},
    Signature{"tjgg"sv, "a GGML file of llama.cpp", other_weights},
    Signature{"lmgg"sv, "a GGML file of llama.cpp", other_weights},
    Signature{"\x89HDF\r\n\x1a\n"sv, "an HDF5 file", other_weights},
    Signature{"\x93NUMPY"sv, "an array of NumPy", ""},
    Signature{"\x1f\x8b"sv, "compressed with gzip", unpack},
    Signature{"BZh"sv, "compressed with bzip2", unpack},
    Signature{"\xfd"
              "7zXZ\0"sv,
              "compressed with xz", unpack},
    Signature{"\x28\xb5\x2f\xfd"sv, "compressed with zstd", unpack},
    Signature{"\x04\x22\x4d\x18"sv, "compressed with lz4", unpack},
    Signature{"7z\xbc\xaf\x27\x1c"sv, "a 7z archive", unpack},
    Signature{"Rar!\x1a\x07"sv, "a RAR archive", unpack},
    Signature{"PK\5\6"sv, "a zip file that holds nothing", "Copy or save it again."},
    Signature{"%PDF-"sv, "a PDF document", ""},
    Signature{"\x89PNG"sv, "a picture", ""},
    Signature{"\x7f"
              "ELF"sv,
              "a program", ""},
    Signature{"SQLite format 3\0"sv, "an SQLite database", ""},
};

// torch.save before PyTorch 1.6 began with the pickled number 0x1950a86a20f9469cfc6c.
bool is_legacy_torch(std::string_view start) {
  constexpr std::string_view magic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv;
  return start.size() > 2 && start[0] == '\x80' && starts_with(start.substr(2), magic);
}

// The header of safetensors: its length in eight bytes, then JSON.
bool is_safetensors(std::string_view start) {
  return start.size() > 10 && starts_with(start.substr(5), "\0\0\0{"sv) && (start[9] == '"' || start[9] == '}');
}

bool is_tar(std::string_view start) {
  constexpr size_t magic_at = 257;
  return start.size() > magic_at && starts_with(start.substr(magic_at), "ustar");
}

bool is_web_page(std::string_view start) {
  constexpr size_t compared = 16;
  const size_t first = start.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  std::string beginning(start.substr(std::min(first, start.size()), compared));
  std::transform(beginning.begin(), beginning.end(), beginning.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return starts_with(beginning, "<!doctype html") || starts_with(beginning, "<html") ||
         starts_with(beginning, "<?xml") || starts_with(beginning, "<head") || starts_with(beginning, "<!--");
}

// Protocol 0 is lines of text and protocol 1 knows no PROTO opcode: what either begins with, a container or a name of
// a module that pickles of data use. JSON begins with neither.
bool is_old_pickle(std::string_view start) {
  for (const std::string_view beginning :
       {"(dp"sv, "(lp"sv, "(ip"sv, "(d."sv, "(l."sv, "}q\0"sv, "]q\0"sv, "}."sv, "(c"sv, "ccopy_reg\n"sv,
        "ccollections\n"sv, "c__builtin__\n"sv, "cnumpy"sv}) {
    if (starts_with(start, beginning)) {
      return true;
    }
  }
  return false;
}

std::optional<Signature> find_signature(std::string_view start) {
  for (const Signature& signature : signatures) {
    if (starts_with(start, signature.bytes)) {
      return signature;
    }
  }
  if (is_legacy_torch(start)) {
    return Signature{"", "in the format that torch.save wrote before PyTorch 1.6",
                     "Load it with torch.load and save it again with a current torch.save."};
  }
  if (is_safetensors(start)) {
    return Signature{"", "a safetensors file, which holds weights and not how the model is built", other_weights};
  }
  if (is_tar(start)) {
    return Signature{"", "a tar archive", unpack};
  }
  if (is_web_page(start)) {
    return Signature{"", "a web page, perhaps of an error or a login", "Download the file itself."};
  }
  if (is_old_pickle(start)) {
    return Signature{"", "a pickle of protocol 0 or 1", pickle_again};
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> recognise_file(std::string_view start, const InputFileKind& wanted) {
  const std::optional<Signature> signature = find_signature(start);
  if (!signature) {
    return std::nullopt;
  }
  return fmt::format("{}. {}", signature->what, *signature->remedy != '\0' ? signature->remedy : wanted.advice);
}

}  // namespace demask
