// Packs the files of a folder as the node wants them: an uncompressed tar with paradrop.yaml at its root.

const BLOCK = 512;
// A browser does not tell which files may be run; in a chute any of them may be a script.
const MODE = "0000755";

// `files` are those of an <input webkitdirectory>.
export function pack(files) {
  const parts = [];
  for (const file of files) {
    const path = file.webkitRelativePath.split("/").slice(1).join("/");
    if (path.startsWith(".git/")) continue;
    parts.push(header(path, file), file, new Uint8Array((BLOCK - (file.size % BLOCK)) % BLOCK));
  }
  return new Blob([...parts, new Uint8Array(2 * BLOCK)]);
}

function header(path, file) {
  const block = new Uint8Array(BLOCK);
  const write = (text, at) => block.set(new TextEncoder().encode(text), at);
  const octal = (value, digits) => value.toString(8).padStart(digits, "0");
  const [prefix, name] = split(path);
  write(name, 0);
  write(MODE, 100);
  write(octal(0, 7), 108);
  write(octal(0, 7), 116);
  write(octal(file.size, 11), 124);
  write(octal(Math.floor(file.lastModified / 1000), 11), 136);
  write("        ", 148);
  write("0", 156);
  write("ustar\u000000", 257);
  write(prefix, 345);
  write(`${octal(block.reduce((sum, byte) => sum + byte, 0), 6)}\u0000 `, 148);
  return block;
}

// A name has 100 bytes, and the folders before it 155 more.
function split(path) {
  const length = (text) => new TextEncoder().encode(text).length;
  if (length(path) <= 100) return ["", path];
  for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) {
    if (length(path.slice(at + 1)) <= 100 && length(path.slice(0, at)) <= 155) return [path.slice(0, at), path.slice(at + 1)];
  }
  throw new Error(`The path is too long for a chute: ${path}`);
}
