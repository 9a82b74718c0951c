// The scripts that make a shell ask `lictor complete` what can follow.

// Without compopt, which old versions of bash lack, a space follows each word. `${words[@]}` cannot hold what is right of
// the cursor.
const bash = `_lictor() {
  local line value
  local words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = :files ]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r value; do COMPREPLY+=("$value"); done < <(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}")
    else
      printf -v value %q "\${line%%$'\\t'*}"
      case $value in *=) compopt -o nospace 2>/dev/null ;; esac
      COMPREPLY+=("$value")
    fi
  done < <(lictor complete -- "\${words[@]}" 2>/dev/null)
}
complete -F _lictor lictor
`;

const zsh = `#compdef lictor
_lictor() {
  local -a described
  local line
  for line in "\${(@f)$(lictor complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $line == :files ]]; then
      _files
      return
    fi
    [[ -n $line ]] && described+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  _describe lictor described
}
if [[ $funcstack[1] == _lictor ]]; then _lictor "$@"; else compdef _lictor lictor; fi
`;

const fish = `function __lictor_complete
  set -l words (commandline -opc) (commandline -ct)
  set -e words[1]
  for line in (lictor complete -- $words 2>/dev/null)
    if test "$line" = :files
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c lictor -f -k -a '(__lictor_complete)'
`;

/** The script of each shell. */
export const completionScripts = { bash, zsh, fish };

/** A shell with completion. */
export type Shell = keyof typeof completionScripts;
