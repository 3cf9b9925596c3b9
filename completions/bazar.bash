# bash completion of bazar. In ~/.bashrc: eval "$(bazar completion bash)"

_bazar() {
    local line=${COMP_LINE:0:COMP_POINT} word='' quote='' inside='' start=0 i c words=()
    for ((i = 0; i < ${#line}; i++)); do
        c=${line:i:1}
        if [[ $c == "$quote" ]]; then
            quote=''
        elif [[ $c == \\ && $quote != "'" ]]; then
            i=$((i + 1)) inside=1
            word+=${line:i:1}
        elif [[ -n $quote ]]; then
            word+=$c
        elif [[ $c == [\'\"] ]]; then
            quote=$c inside=1
        elif [[ $c == [[:space:]] ]]; then
            if [[ -n $inside ]]; then words+=("$word"); fi
            word='' inside='' start=0
        else
            word+=$c inside=1
            if [[ $COMP_WORDBREAKS == *"$c"* ]]; then start=${#word}; fi
        fi
    done

    # Use the typed program if it exists: ./bazar completes itself.
    local program=${words[0]}
    if [[ $program == "~/"* ]]; then program=$HOME/${program:2}; fi
    if ! type -P "$program" >/dev/null; then program=bazar; fi

    local candidate prefix=''
    COMPREPLY=()
    while IFS= read -r candidate; do
        candidate=${candidate%%$'\t'*}
        if [[ $candidate == :file ]]; then
            if [[ $word == --*=* ]]; then prefix=${word%%=*}=; fi
            # Readline completes files best, unless its word holds the option's name too.
            if ((start >= ${#prefix})) && compopt -o default 2>/dev/null; then return; fi
            compopt -o filenames 2>/dev/null
            while IFS= read -r candidate; do
                if [[ -n $candidate ]]; then COMPREPLY+=("${candidate:start}"); fi
            done <<<"$(compgen -P "$prefix" -f -- "${word#"$prefix"}")"
        elif [[ -n $candidate ]]; then
            COMPREPLY+=("${candidate:start}")
        fi
    done <<<"$(command "$program" __complete "${words[@]:1}" "$word" 2>/dev/null)"
}

complete -F _bazar bazar
